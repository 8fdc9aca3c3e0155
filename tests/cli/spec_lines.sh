# The specification's command lines for what is built, word for word; a test parses each.

claude-flow neural train coordination \
  --config "coordination-training-config.json" \
  --data "preprocessed-coordination-data" \
  --validation-split 0.2 \
  --checkpoint-interval 10 \
  --tensorboard-logging true \
  --distributed-training auto
