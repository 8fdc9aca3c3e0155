// The tables of this build, worst first, and the choice among them.
#include <cstring>

#include "base/isa.h"
#include "kernels/table.h"

namespace claude_flow {

#define CLAUDE_FLOW_TABLE(isa) extern const Table table_##isa;
CLAUDE_FLOW_TABLES
#undef CLAUDE_FLOW_TABLE

namespace {

const Table* const kBuilt[] = {
#define CLAUDE_FLOW_TABLE(isa) &table_##isa,
    CLAUDE_FLOW_TABLES
#undef CLAUDE_FLOW_TABLE
};

struct Available {
  const Table* tables[8];
  size_t count = 0;

  Available() {
    static_assert(sizeof kBuilt <= sizeof tables, "room for every table");
    for (const Table* table : kBuilt) {
      if (cpu_has(table->isa)) tables[count++] = table;
    }
  }
};

}  // namespace

size_t available_tables(const Table* const** tables) {
  static const Available available;
  *tables = available.tables;
  return available.count;
}

const Table* built_table(const char* isa) {
  for (const Table* table : kBuilt) {
    if (std::strcmp(table->isa, isa) == 0) return table;
  }
  return nullptr;
}

const Table* find_table(const char* isa) {
  const Table* const* tables = nullptr;
  const size_t count = available_tables(&tables);
  if (std::strcmp(isa, "auto") == 0) return tables[count - 1];
  for (size_t i = 0; i < count; ++i) {
    if (std::strcmp(tables[i]->isa, isa) == 0) return tables[i];
  }
  return nullptr;
}

}  // namespace claude_flow
