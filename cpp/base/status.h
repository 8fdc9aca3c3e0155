// A result code with one line of text; the engine throws nothing.
#pragma once

#include <cstdarg>
#include <cstdio>

#include "claude_flow.h"

namespace claude_flow {

class [[nodiscard]] Status {
 public:
  Status() = default;

  __attribute__((format(printf, 1, 2))) static Status invalid(const char* format, ...) {
    Status status;
    status.code_ = CF_INVALID;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(status.error_.text, sizeof status.error_.text, format, arguments);
    va_end(arguments);
    return status;
  }

  static Status no_memory() {
    Status status = invalid("not enough memory");
    status.code_ = CF_NO_MEMORY;
    return status;
  }

  static Status unsupported(const char* asked, const char* available) {
    Status status = invalid("this CPU has no instruction set '%s'; it has: %s", asked, available);
    status.code_ = CF_UNSUPPORTED;
    return status;
  }

  bool ok() const { return code_ == CF_OK; }

  // Hands the result over the C ABI.
  cf_status report(cf_error* error) const {
    if (error != nullptr && !ok()) *error = error_;
    return code_;
  }

 private:
  cf_status code_ = CF_OK;
  cf_error error_ = {};
};

#define CF_RETURN_IF_ERROR(expression) \
  do {                                 \
    Status status_ = (expression);     \
    if (!status_.ok()) return status_; \
  } while (0)

}  // namespace claude_flow
