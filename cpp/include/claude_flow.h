/* The engine's only public interface: a flat C ABI. No exceptions cross it; every failure is a code and one
 * line of text. */
#ifndef CLAUDE_FLOW_H
#define CLAUDE_FLOW_H

#include <stddef.h>
#include <stdint.h>

/* The engine is a static library. Define CLAUDE_FLOW_SHARED where it is built as, or used from, a shared one, and
 * CLAUDE_FLOW_BUILD too where it is built. */
#if !defined(CLAUDE_FLOW_SHARED)
#define CF_API
#elif !defined(_WIN32)
#define CF_API __attribute__((visibility("default")))
#elif defined(CLAUDE_FLOW_BUILD)
#define CF_API __declspec(dllexport)
#else
#define CF_API __declspec(dllimport)
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cf_status {
  CF_OK = 0,
  CF_INVALID = 1,     /* an argument or the program is malformed; the text says what and where */
  CF_UNSUPPORTED = 2, /* the CPU lacks the asked instruction set */
  CF_NO_MEMORY = 3
} cf_status;

typedef struct cf_error {
  char text[240];
} cf_error;

/* What a program's op, or cf_activation, applies to its result; the last one serves cf_activation alone. */
typedef enum cf_activation_code {
  CF_NONE = 0,
  CF_RELU = 1,
  CF_GELU = 2, /* with erf */
  CF_TANH = 3,
  CF_SIGMOID = 4,
  CF_EXP = 5
} cf_activation_code;

typedef enum cf_dtype { CF_F32 = 0, CF_I8 = 1, CF_I32 = 2 } cf_dtype;

/* A dense row-major tensor in the caller's memory. Rank 1: shape[1] is ignored.
   A weight matrix may come prepacked, in the order of cf_layout and of docs/model_format.md: then packed_bytes is
   the size of its data, which the model reads in place for as long as it lives. Otherwise packed_bytes is 0, and
   nothing of the caller's memory is kept. */
typedef struct cf_tensor {
  const void *data;
  int32_t dtype;
  int32_t rank;
  int32_t shape[2];
  size_t packed_bytes;
} cf_tensor;

/* The order in which an instruction set's kernels read weights. */
typedef struct cf_order {
  int32_t tile_columns; /* columns of a panel of a matrix product */
  int32_t lstm_units;   /* units of a block of an LSTM */
} cf_order;

typedef struct cf_info {
  int32_t per_token_input;  /* 0: input is [items, input_width], else [items, tokens, input_width] */
  int32_t per_token_output; /* the same for the output; of several axes of tokens, which */
  int32_t input_width;      /* of several inputs the first one's, as are per_token_input and max_tokens */
  int32_t output_width;
  int32_t max_tokens;
  int32_t threads;
  int32_t op_count;
  size_t arena_bytes;  /* working memory of one run, allocated at load; threads that work apart need more */
  size_t apart_bytes;  /* what it would be if no two values shared a place */
  size_t packed_bytes; /* weights that were packed at load; prepacked ones stay with the caller */
  const char *isa;
} cf_info;

typedef struct cf_model cf_model;

/* Instruction sets that this CPU and this build have, worst first, separated by spaces. */
CF_API const char *cf_available(void);

/* The one that isa="auto" takes: the best, or what CLAUDE_FLOW_ISA names. */
CF_API cf_status cf_selected(const char **isa, cf_error *error);

/* The order of an instruction set of this build, which the CPU need not have, or of "auto". */
CF_API cf_status cf_layout(const char *isa, cf_order *order, cf_error *error);

/* Checks the program (docs/model_format.md), copies and packs the weights that are not prepacked, plans the memory. */
CF_API cf_status cf_model_create(const int32_t *program, size_t program_words, const cf_tensor *tensors,
                                 size_t tensor_count, const char *isa, int32_t threads, cf_model **model,
                                 cf_error *error);
CF_API void cf_model_destroy(cf_model *model);
CF_API void cf_model_info(const cf_model *model, cf_info *info);

/* May be called from several threads at once; `threads` counts the caller, and a call that finds the model's
   other threads busy works alone. The result never depends on the number of threads. x: items * tokens *
   input_width floats (tokens = 1 for a per-item input); lengths: items values in 1..tokens, or NULL when
   every token is real; out: items * (tokens) * output_width floats. */
CF_API cf_status cf_model_run(cf_model *model, const float *x, int32_t items, int32_t tokens,
                              const int32_t *lengths, float *out, cf_error *error);

/* Models of several inputs (docs/model_format.md). Each input has one row per item, or one per token of an axis; items
   may have other numbers of tokens along each axis. */
typedef struct cf_input_info {
  int32_t axis; /* 0: [items, width]; else [items, tokens, width], with the tokens of this axis */
  int32_t width;
  int32_t max_tokens;
} cf_input_info;

/* How many inputs a model has; describes the first `room` of them. */
CF_API int32_t cf_model_inputs(const cf_model *model, cf_input_info *inputs, int32_t room);

typedef struct cf_op_time {
  int32_t code; /* what ran, an opcode of docs/model_format.md */
  double seconds;
} cf_op_time;

/* x: items * tokens * width floats (tokens = 1 for an input of rows per item); lengths as for cf_model_run. Inputs of
   one axis have the same tokens and lengths. */
typedef struct cf_input {
  const float *x;
  int32_t tokens;
  const int32_t *lengths;
} cf_input;

typedef struct cf_call {
  const cf_input *inputs; /* in the order of the program */
  int32_t input_count;
  int32_t items;
  float *out;
  double (*clock)(void); /* NULL, or as for cf_model_profile, with its times */
  cf_op_time *times;
} cf_call;

/* What cf_model_run and cf_model_profile do, for any number of inputs. */
CF_API cf_status cf_model_call(cf_model *model, const cf_call *call, cf_error *error);

#ifdef __wasm_atomics__
/* WebAssembly cannot start threads. A host makes an instance of the module on the model's memory in another
   thread, gives it a stack and thread-local storage, and calls this with thread = 1..threads-1: it works for
   the model's runs until the model is destroyed. A run does without those that have not come yet. */
CF_API void cf_model_serve(cf_model *model, int32_t thread);
#endif

#ifdef __wasm__
/* cf_model_run with its arguments in memory, for hosts to which each argument costs: wasmtime's Python package takes
   6 us for one. */
typedef struct cf_run {
  cf_model *model;
  const float *x;
  int32_t items;
  int32_t tokens;
  const int32_t *lengths;
  float *out;
  cf_error *error;
} cf_run;
CF_API cf_status cf_model_run_packed(const cf_run *run);
#endif

/* The limits of one core on one instruction set, for rooflines: the caller takes the time. Each does `steps`
   rounds and says how many operations (fp32 or 8-bit, a multiply-add is two), or bytes, they were. The sum of x
   keeps a compiler from leaving the reading out. */
CF_API cf_status cf_ceiling_fma(const char *isa, int64_t steps, double *operations, cf_error *error);
CF_API cf_status cf_ceiling_dot(const char *isa, int64_t steps, double *operations, cf_error *error);
CF_API cf_status cf_ceiling_read(const char *isa, const float *x, size_t count, int64_t steps, double *bytes,
                                 float *sum, cf_error *error);

/* Single kernels on dense rows; y may be x. activation: one of cf_activation_code but CF_NONE. */
CF_API cf_status cf_activation(const char *isa, int32_t activation, const float *x, float *y, size_t count,
                               cf_error *error);
CF_API cf_status cf_softmax(const char *isa, const float *x, float *y, size_t rows, int32_t columns,
                            cf_error *error);
CF_API cf_status cf_layer_norm(const char *isa, const float *x, const float *gamma, const float *beta,
                               float epsilon, float *y, size_t rows, int32_t columns, cf_error *error);

/* cf_model_run with the clock read between ops: times holds op_count entries, in the order of the program,
   each the sum over the run. The clock (seconds from any origin) is the caller's, since a WASM engine has
   none. */
CF_API cf_status cf_model_profile(cf_model *model, const float *x, int32_t items, int32_t tokens,
                                  const int32_t *lengths, float *out, double (*clock)(void),
                                  cf_op_time *times, cf_error *error);

#ifdef __cplusplus
}
#endif
#endif
