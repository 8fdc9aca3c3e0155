# The guide's command lines, word for word and in its order. tests/guide/walk.py runs those that exist.

claude-flow neural data collect \
  --source "swarm-logs" \
  --timeframe "30d" \
  --quality-filter "high" \
  --anonymize-sensitive true

claude-flow neural data validate \
  --dataset "swarm-training-data" \
  --completeness-check \
  --consistency-check \
  --anomaly-detection

claude-flow neural data preprocess \
  --dataset "swarm-training-data" \
  --normalization "z-score" \
  --feature-extraction "automated" \
  --sequence-alignment true \
  --output-format "optimized-tensors"

claude-flow neural train coordination \
  --config "coordination-training-config.json" \
  --data "preprocessed-coordination-data" \
  --validation-split 0.2 \
  --checkpoint-interval 10 \
  --tensorboard-logging true \
  --distributed-training auto

claude-flow neural monitor training \
  --model "coordination-v3" \
  --metrics '["loss","accuracy","coordination-efficiency","attention-weights"]' \
  --visualization "real-time" \
  --early-stopping-alerts true

claude-flow neural transfer \
  --source-model "coordination-v2-general" \
  --target-domain "microservice-development" \
  --freeze-layers "embedding,attention-0,attention-1" \
  --fine-tune-layers "attention-2,attention-3,output" \
  --learning-rate 0.0001 \
  --epochs 50

claude-flow neural train reinforcement \
  --environment "swarm-coordination-env" \
  --agent "coordination-network" \
  --reward-function "efficiency-improvement" \
  --exploration-strategy "epsilon-greedy" \
  --episodes 10000 \
  --update-frequency 100

claude-flow neural train federated \
  --participants '["swarm-1","swarm-2","swarm-3"]' \
  --aggregation-strategy "weighted-average" \
  --rounds 50 \
  --local-epochs 5 \
  --privacy-preserving true

claude-flow neural validate cross-fold \
  --model "coordination-v3" \
  --k-folds 5 \
  --metrics '["accuracy","f1-score","coordination-efficiency"]' \
  --statistical-significance true

claude-flow neural validate time-series \
  --model "prediction-v2" \
  --validation-strategy "walk-forward" \
  --horizon "7d" \
  --overlap "1d"

claude-flow neural benchmark \
  --model "coordination-v3" \
  --baselines '["random","rule-based","coordination-v2"]' \
  --test-scenarios "standard-benchmark-suite" \
  --metrics '["accuracy","latency","memory-usage","coordination-quality"]'

claude-flow neural infer coordination \
  --input '{
    "current-agents": [
      {"id":"arch-001","type":"architect","load":0.6,"capabilities":["design","analysis"]},
      {"id":"code-001","type":"coder","load":0.8,"capabilities":["backend","apis"]}
    ],
    "pending-tasks": [
      {"id":"task-001","type":"api-design","priority":"high","complexity":0.7},
      {"id":"task-002","type":"implementation","priority":"medium","complexity":0.8}
    ],
    "system-state": {"memory-usage":0.65,"cpu-usage":0.45,"network-latency":25}
  }' \
  --confidence-threshold 0.8 \
  --explain-decision true

claude-flow neural infer optimization \
  --current-performance '{
    "throughput": 45.2,
    "latency": 120,
    "error-rate": 0.02,
    "resource-utilization": 0.78
  }' \
  --constraints '{
    "max-memory": "16GB",
    "max-cpu": 0.9,
    "budget": 1000
  }' \
  --optimization-targets '["reduce-latency","improve-throughput"]'

claude-flow neural infer prediction \
  --task-description "implement authentication microservice" \
  --historical-context "similar-tasks-last-6-months" \
  --current-team-capacity '{
    "available-agents": 4,
    "average-productivity": 0.85,
    "experience-level": "senior"
  }' \
  --uncertainty-quantification true \
  --confidence-intervals "80%,95%"

claude-flow neural infer batch \
  --input-file "inference-requests.jsonl" \
  --model-ensemble '["coordination-v3","optimization-v2","prediction-v2"]' \
  --batch-size 16 \
  --parallel-processing true \
  --output-format "structured-json"

claude-flow neural infer distributed \
  --input-data "large-inference-dataset" \
  --nodes '["node-1","node-2","node-3"]' \
  --load-balancing "neural-weighted" \
  --fault-tolerance "redundant-processing" \
  --aggregation-strategy "majority-vote"

claude-flow neural optimize quantize \
  --model "coordination-v3" \
  --precision "int8" \
  --calibration-data "representative-dataset" \
  --accuracy-threshold 0.99 \
  --output-format "optimized-wasm"

claude-flow neural optimize quantize-dynamic \
  --model "coordination-v3" \
  --target-device "cpu" \
  --performance-mode "balanced" \
  --memory-constraints "4GB"

claude-flow neural optimize prune \
  --model "coordination-v3" \
  --pruning-ratio 0.3 \
  --importance-metric "gradient-magnitude" \
  --fine-tune-epochs 20 \
  --preserve-accuracy 0.98

claude-flow neural optimize distill \
  --teacher-model "coordination-v3-large" \
  --student-architecture "coordination-v3-small" \
  --temperature 3.0 \
  --alpha 0.7 \
  --distillation-epochs 50

claude-flow neural wasm optimize-simd \
  --model "coordination-v3" \
  --target-architecture "avx2" \
  --vector-width 256 \
  --memory-alignment 32 \
  --instruction-scheduling "aggressive"

claude-flow neural wasm profile-simd \
  --model "coordination-v3-simd" \
  --workload "typical-coordination-tasks" \
  --metrics '["throughput","latency","cache-misses","instruction-efficiency"]'

claude-flow neural wasm optimize-memory \
  --model "coordination-v3" \
  --memory-layout "cache-friendly" \
  --tensor-fusion true \
  --memory-pooling true \
  --garbage-collection "generational"

claude-flow neural runtime setup-acceleration \
  --backend "wasm-simd" \
  --thread-pool-size 8 \
  --batch-processing true \
  --model-caching "intelligent" \
  --memory-mapping true

claude-flow neural runtime benchmark \
  --model "coordination-v3" \
  --workload-types '["single-request","batch-processing","streaming"]' \
  --concurrency-levels '[1,4,8,16]' \
  --duration "5m"

claude-flow neural nas search \
  --task "coordination-optimization" \
  --search-space "transformer-variants" \
  --search-strategy "evolutionary" \
  --generations 50 \
  --population-size 20 \
  --fitness-metric "efficiency-accuracy-tradeoff"

claude-flow neural nas evaluate \
  --candidate-architectures "nas-results-top10" \
  --validation-data "holdout-dataset" \
  --metrics '["accuracy","latency","memory","flops"]' \
  --statistical-testing true

claude-flow neural nas optimize \
  --base-architecture "coordination-v3" \
  --optimization-target "reduce-latency" \
  --constraints '{"accuracy-loss":"<2%","memory-increase":"<10%"}' \
  --search-iterations 100

claude-flow neural train multimodal \
  --modalities '["text","code","diagrams"]' \
  --fusion-strategy "late-fusion" \
  --alignment-loss "contrastive" \
  --data-augmentation "cross-modal" \
  --epochs 75

claude-flow neural transfer cross-modal \
  --source-modality "text-coordination" \
  --target-modality "visual-coordination" \
  --alignment-technique "canonical-correlation" \
  --adaptation-layers 2

claude-flow neural train incremental \
  --model "coordination-v3" \
  --new-data "recent-coordination-patterns" \
  --forgetting-prevention "elastic-weight-consolidation" \
  --importance-estimation "fisher-information" \
  --rehearsal-strategy "gradient-episodic-memory"

claude-flow neural train meta \
  --base-model "coordination-v3" \
  --meta-algorithm "maml" \
  --task-distribution "coordination-variants" \
  --inner-steps 5 \
  --outer-steps 1000 \
  --adaptation-rate 0.01

claude-flow neural explain attention \
  --model "coordination-v3" \
  --input "complex-coordination-scenario" \
  --layer-range "2-4" \
  --head-selection "all" \
  --visualization "interactive-heatmap"

claude-flow neural explain attention-evolution \
  --model "coordination-v3" \
  --sequence "task-coordination-timeline" \
  --temporal-analysis true \
  --pattern-identification true

claude-flow neural explain features \
  --model "coordination-v3" \
  --method "integrated-gradients" \
  --baseline "average-input" \
  --feature-groups '["agent-properties","task-attributes","system-state"]' \
  --statistical-significance 0.05

claude-flow neural explain boundaries \
  --model "coordination-v3" \
  --input-space "coordination-decisions" \
  --perturbation-method "adversarial" \
  --boundary-sampling 1000 \
  --visualization "2d-projection"

claude-flow neural debug activations \
  --model "coordination-v3" \
  --layer-analysis "all" \
  --activation-patterns true \
  --dead-neuron-detection true \
  --saturation-analysis true

claude-flow neural debug activation-comparison \
  --model "coordination-v3" \
  --input-pairs "successful-vs-failed-coordination" \
  --statistical-tests true \
  --visualization "comparative-heatmap"

claude-flow neural debug gradients \
  --model "coordination-v3" \
  --gradient-magnitude true \
  --vanishing-gradient-detection true \
  --exploding-gradient-detection true \
  --layer-wise-analysis true

claude-flow neural profile computation \
  --model "coordination-v3" \
  --operation-breakdown true \
  --memory-profiling true \
  --cache-analysis true \
  --optimization-suggestions true

claude-flow neural profile latency \
  --model "coordination-v3" \
  --input-variations "typical-workload" \
  --percentile-analysis "50,90,95,99" \
  --bottleneck-identification true

claude-flow neural dev-env launch \
  --environment "jupyter-neural" \
  --gpu-support true \
  --visualization-tools true \
  --debugging-enabled true

claude-flow neural playground \
  --models '["coordination","optimization","prediction"]' \
  --interactive-tuning true \
  --real-time-feedback true

claude-flow neural experiments setup \
  --tracking-backend "mlflow" \
  --metrics-logging "comprehensive" \
  --artifact-storage "s3" \
  --collaboration-features true

claude-flow neural experiments log \
  --experiment-name "coordination-optimization-v4" \
  --parameters "training-config.json" \
  --metrics "training-results.json" \
  --artifacts "model-checkpoints/" \
  --tags '["coordination","optimization","v4"]'

claude-flow neural test unit \
  --component "attention-mechanism" \
  --test-cases "standard-attention-tests" \
  --numerical-precision 1e-6 \
  --gradient-checking true

claude-flow neural test integration \
  --models '["coordination","optimization"]' \
  --test-scenarios "end-to-end-coordination" \
  --performance-benchmarks true

claude-flow neural test regression \
  --baseline-model "coordination-v2" \
  --candidate-model "coordination-v3" \
  --test-dataset "regression-test-suite" \
  --significance-threshold 0.05 \
  --performance-regression-threshold 0.02

claude-flow neural monitor production \
  --models '["coordination-v3","optimization-v2","prediction-v2"]' \
  --metrics '["accuracy","latency","throughput","drift"]' \
  --alert-thresholds '{
    "accuracy": {"warning": 0.85, "critical": 0.8},
    "latency": {"warning": 100, "critical": 200},
    "drift": {"warning": 0.1, "critical": 0.2}
  }' \
  --notification-channels '["slack","email","pagerduty"]'

claude-flow neural monitor drift \
  --reference-data "training-distribution" \
  --streaming-data "production-inputs" \
  --drift-detection-method "kolmogorov-smirnov" \
  --sensitivity "medium" \
  --alert-frequency "hourly"

claude-flow neural maintain retrain-schedule \
  --models '["coordination-v3"]' \
  --trigger-conditions '{
    "data-drift": 0.15,
    "performance-degradation": 0.05,
    "new-data-volume": 10000
  }' \
  --retraining-strategy "incremental" \
  --validation-pipeline "automated" \
  --deployment-approval "automated-with-rollback"

claude-flow neural version create \
  --model "coordination-v3" \
  --version "3.2.1" \
  --changes "improved attention mechanism, reduced latency" \
  --compatibility-check true \
  --backward-compatibility true

claude-flow neural version rollback \
  --model "coordination" \
  --target-version "3.1.0" \
  --reason "performance-regression" \
  --immediate true
