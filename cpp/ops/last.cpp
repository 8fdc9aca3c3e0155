// target[:, column:] = the row of an item's last token
#include <cstring>
#include <new>

#include "ops/operands.h"

namespace claude_flow {

namespace {

using namespace operands::last;

class Last final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read_tokens(source));
    width_ = o.width();
    return o.write_items(target, column, width_);
  }

  void run(const Context&, const Batch& batch, const View* reads, View out) const override {
    const View in = reads[0];
    for (int item = 0; item < batch.items; ++item) {
      const ptrdiff_t row = batch.first_row[item] + batch.length[item] - 1;
      std::memcpy(out.data + item * out.ld, in.data + row * in.ld, to_size(width_) * sizeof(float));
    }
  }

 private:
  int width_ = 0;
};

}  // namespace

Op* make_last() { return new (std::nothrow) Last; }

}  // namespace claude_flow
