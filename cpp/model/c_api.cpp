// The C ABI over Model.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "model/model.h"

using claude_flow::Model;
using claude_flow::Status;
using claude_flow::Table;

struct cf_model {
  explicit cf_model(int threads) : model(threads) {}
  Model model;
};

namespace {

struct Names {
  char text[128] = "";
  Names() {
    const Table* const* tables = nullptr;
    const size_t count = claude_flow::available_tables(&tables);
    size_t at = 0;
    for (size_t i = 0; i < count && at < sizeof text; ++i) {
      at += static_cast<size_t>(
          std::snprintf(text + at, sizeof text - at, "%s%s", i > 0 ? " " : "", tables[i]->isa));
    }
  }
};

// What "auto" means: CLAUDE_FLOW_ISA where it is set, else the best.
const char* resolve(const char* isa) {
#ifdef __EMSCRIPTEN__
  const char* forced = nullptr;  // the host chose the module; an environment would have to be imported
#else
  const char* forced = std::getenv("CLAUDE_FLOW_ISA");
#endif
  const bool automatic = isa == nullptr || std::strcmp(isa, "auto") == 0;
  if (!automatic) return isa;
  return forced != nullptr && *forced != '\0' ? forced : "auto";
}

}  // namespace

const char* cf_available(void) {
  static const Names names;
  return names.text;
}

cf_status cf_selected(const char** isa, cf_error* error) {
  const Table* table = claude_flow::find_table(resolve("auto"));
  if (table == nullptr) return Status::unsupported(resolve("auto"), cf_available()).report(error);
  *isa = table->isa;
  return CF_OK;
}

cf_status cf_layout(const char* isa, cf_order* order, cf_error* error) {
  const char* word = resolve(isa);
  const Table* table =
      std::strcmp(word, "auto") == 0 ? claude_flow::find_table(word) : claude_flow::built_table(word);
  if (table == nullptr) return Status::invalid("this build has no instruction set '%s'", word).report(error);
  *order = {table->tile_columns, table->lstm_units};
  return CF_OK;
}

cf_status cf_model_create(const int32_t* program, size_t program_words, const cf_tensor* tensors,
                          size_t tensor_count, const char* isa, int32_t threads, cf_model** model,
                          cf_error* error) {
  *model = nullptr;
  if (threads < 1 || threads > claude_flow::kMaxThreads) {
    return Status::invalid("threads is %d, not in 1..%d", threads, claude_flow::kMaxThreads).report(error);
  }
  cf_model* created = new (std::nothrow) cf_model(threads);
  if (created == nullptr) return Status::no_memory().report(error);
  const Status status = created->model.load(program, program_words, tensors, tensor_count, resolve(isa));
  if (status.ok()) {
    *model = created;
  } else {
    delete created;
  }
  return status.report(error);
}

void cf_model_destroy(cf_model* model) { delete model; }

void cf_model_info(const cf_model* model, cf_info* info) { *info = model->model.info(); }

int32_t cf_model_inputs(const cf_model* model, cf_input_info* inputs, int32_t room) {
  const claude_flow::Program& program = model->model.program();
  for (int i = 0; i < program.input_count && i < room; ++i) {
    const claude_flow::Value& value = program.input(i);
    inputs[i] = {value.axis, value.width, program.most_tokens[value.axis]};
  }
  return program.input_count;
}

cf_status cf_model_call(cf_model* model, const cf_call* call, cf_error* error) {
  return model->model.run(*call).report(error);
}

cf_status cf_model_run(cf_model* model, const float* x, int32_t items, int32_t tokens, const int32_t* lengths,
                       float* out, cf_error* error) {
  return cf_model_profile(model, x, items, tokens, lengths, out, nullptr, nullptr, error);
}

#ifdef __wasm__
cf_status cf_model_run_packed(const cf_run* run) {
  return cf_model_run(run->model, run->x, run->items, run->tokens, run->lengths, run->out, run->error);
}
#endif

#ifdef __wasm_atomics__
void cf_model_serve(cf_model* model, int32_t thread) { model->model.serve(thread); }
#endif

cf_status cf_model_profile(cf_model* model, const float* x, int32_t items, int32_t tokens,
                           const int32_t* lengths, float* out, double (*clock)(void), cf_op_time* times,
                           cf_error* error) {
  const cf_input input = {x, tokens, lengths};
  return model->model.run({&input, 1, items, out, clock, times}).report(error);
}

namespace {

// Calls body(table, first, count) over `rows` rows in pieces that an int counts.
template <class Body>
cf_status over_rows(const char* isa, size_t rows, int32_t columns, cf_error* error, const Body& body) {
  const Table* table = claude_flow::find_table(resolve(isa));
  if (table == nullptr) return Status::unsupported(resolve(isa), cf_available()).report(error);
  if (columns < 1) return Status::invalid("rows of %d columns", columns).report(error);
  constexpr size_t kPiece = size_t{1} << 30;
  for (size_t row = 0; row < rows; row += kPiece) {
    const size_t left = rows - row;
    body(*table, row * static_cast<size_t>(columns), static_cast<int>(left < kPiece ? left : kPiece));
  }
  return CF_OK;
}

}  // namespace

cf_status cf_activation(const char* isa, int32_t activation, const float* x, float* y, size_t count,
                        cf_error* error) {
  if (activation <= CF_NONE || activation > CF_EXP) {
    return Status::invalid("unknown activation %d", activation).report(error);
  }
  return over_rows(isa, count, 1, error, [&](const Table& table, size_t at, int n) {
    table.activation_f32({x + at, y + at, n, static_cast<claude_flow::Activation>(activation)});
  });
}

cf_status cf_softmax(const char* isa, const float* x, float* y, size_t rows, int32_t columns,
                     cf_error* error) {
  return over_rows(isa, rows, columns, error, [&](const Table& table, size_t at, int n) {
    table.softmax_f32({x + at, columns, y + at, columns, n, columns});
  });
}

cf_status cf_layer_norm(const char* isa, const float* x, const float* gamma, const float* beta, float epsilon,
                        float* y, size_t rows, int32_t columns, cf_error* error) {
  return over_rows(isa, rows, columns, error, [&](const Table& table, size_t at, int n) {
    table.layer_norm_f32({x + at, columns, gamma, beta, y + at, columns, n, columns, epsilon});
  });
}

cf_status cf_ceiling_fma(const char* isa, int64_t steps, double* operations, cf_error* error) {
  constexpr int kColumns = claude_flow::kCeilingColumns;
  const Table* table = claude_flow::find_table(resolve(isa));
  if (table == nullptr) return Status::unsupported(resolve(isa), cf_available()).report(error);
  float x[kColumns] = {};
  table->ceiling_fma_f32({x, x, kColumns, static_cast<ptrdiff_t>(steps), 0.5f, 1.0f});
  *operations = 2.0 * kColumns * static_cast<double>(steps);
  return CF_OK;
}

cf_status cf_ceiling_dot(const char* isa, int64_t steps, double* operations, cf_error* error) {
  constexpr int kColumns = claude_flow::kCeilingColumns;
  const Table* table = claude_flow::find_table(resolve(isa));
  if (table == nullptr) return Status::unsupported(resolve(isa), cf_available()).report(error);
  const uint8_t u[4] = {1, 0, 0, 0};  // adds the lowest byte: however many steps, the sums stay below 256
  int32_t x[kColumns];
  for (int i = 0; i < kColumns; ++i) x[i] = i;
  float y[kColumns];
  table->ceiling_dot_u7i8({x, u, y, static_cast<ptrdiff_t>(steps)});
  *operations = 8.0 * kColumns * static_cast<double>(steps);
  return CF_OK;
}

cf_status cf_ceiling_read(const char* isa, const float* x, size_t count, int64_t steps, double* bytes,
                          float* sum, cf_error* error) {
  const Table* table = claude_flow::find_table(resolve(isa));
  if (table == nullptr) return Status::unsupported(resolve(isa), cf_available()).report(error);
  for (int64_t step = 0; step < steps; ++step) {
    table->ceiling_read_f32({x, sum, static_cast<ptrdiff_t>(count)});
  }
  *bytes = static_cast<double>(count) * sizeof(float) * static_cast<double>(steps);
  return CF_OK;
}
