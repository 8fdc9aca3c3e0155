// claude_flow._core: the C ABI for Python. One crossing per inference, the GIL released, the caller's array
// read in place.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "claude_flow.h"

namespace py = pybind11;

namespace {

void check(cf_status status, const cf_error& error) {
  if (status == CF_OK) return;
  if (status == CF_NO_MEMORY) throw std::bad_alloc();
  throw py::value_error(error.text);
}

std::vector<std::string> available() {
  std::istringstream words(cf_available());
  std::vector<std::string> names;
  for (std::string word; words >> word;) names.push_back(word);
  return names;
}

std::string selected() {
  const char* isa = nullptr;
  cf_error error = {};
  check(cf_selected(&isa, &error), error);
  return isa;
}

template <class T>
bool is_dense(const py::array& a) {
  return py::isinstance<py::array_t<T>>(a) && (a.flags() & py::array::c_style) != 0;
}

std::string describe(const py::array& x) {
  return std::string((x.flags() & py::array::c_style) != 0 ? "" : "strided ") +
         py::str(x.dtype()).cast<std::string>() + " " +
         py::str(py::tuple(x.attr("shape"))).cast<std::string>();
}

bool overlap(const py::array& a, const py::array& b) {
  const auto *first = static_cast<const char*>(a.data()), *second = static_cast<const char*>(b.data());
  return first < second + b.nbytes() && second < first + a.nbytes();
}

std::vector<py::ssize_t> shape_of(const py::array& x) { return {x.shape(), x.shape() + x.ndim()}; }

// Where a result of this shape goes: `out`, or a new array where that is None.
py::array_t<float> result(const py::object& out, const std::vector<py::ssize_t>& shape) {
  if (out.is_none()) return py::array_t<float>(shape);
  if (!py::isinstance<py::array>(out)) throw py::value_error("out: a NumPy array expected");
  const py::array y = py::reinterpret_borrow<py::array>(out);
  if (!is_dense<float>(y) || !y.writeable() || shape_of(y) != shape) {
    throw py::value_error("out: C-contiguous, writable float32 " +
                          py::str(py::tuple(py::cast(shape))).cast<std::string>() + " expected, not " +
                          (y.writeable() ? "" : "read-only ") + describe(y));
  }
  return py::reinterpret_borrow<py::array_t<float>>(y);
}

// x of any shape as rows of its last axis; what the kernels read is dense float32, which claude_flow.ops sees to.
struct Rows {
  Rows(const py::array& x, const py::object& to)
      : data(static_cast<const float*>(x.data())),
        count(static_cast<size_t>(x.size())),
        columns(x.ndim() == 0 ? 1 : x.shape(x.ndim() - 1)) {
    if (!is_dense<float>(x)) throw py::value_error("not a C-contiguous float32 array");
    if (columns > INT32_MAX) throw py::value_error("rows are too long");
    out = result(to, shape_of(x));
    if (overlap(x, out) && x.data() != out.data()) throw py::value_error("out: overlaps x without being x");
  }
  size_t rows() const { return columns == 0 ? 0 : count / static_cast<size_t>(columns); }

  py::array_t<float> out;
  const float* data;
  size_t count;
  py::ssize_t columns;
};

py::array_t<float> activation(const py::array& x, int kind, const std::string& isa, const py::object& out) {
  Rows r(x, out);
  float* y = r.out.mutable_data();
  cf_error error = {};
  cf_status status = CF_OK;
  {
    const py::gil_scoped_release release;
    status = cf_activation(isa.c_str(), kind, r.data, y, r.count, &error);
  }
  check(status, error);
  return r.out;
}

py::array_t<float> softmax(const py::array& x, const std::string& isa, const py::object& out) {
  Rows r(x, out);
  float* y = r.out.mutable_data();
  cf_error error = {};
  cf_status status = CF_OK;
  if (r.count > 0) {
    const py::gil_scoped_release release;
    status = cf_softmax(isa.c_str(), r.data, y, r.rows(), static_cast<int32_t>(r.columns), &error);
  }
  check(status, error);
  return r.out;
}

py::array_t<float> layer_norm(const py::array& x, const py::array& gamma, const py::array& beta,
                              float epsilon, const std::string& isa, const py::object& out) {
  Rows r(x, out);
  if (!is_dense<float>(gamma) || !is_dense<float>(beta) || gamma.size() != r.columns ||
      beta.size() != r.columns) {
    throw py::value_error("gamma and beta must be dense float32 of " + std::to_string(r.columns) +
                          " columns");
  }
  if (overlap(r.out, gamma) || overlap(r.out, beta)) throw py::value_error("out: overlaps gamma or beta");
  float* y = r.out.mutable_data();
  const auto* g = static_cast<const float*>(gamma.data());
  const auto* b = static_cast<const float*>(beta.data());
  cf_error error = {};
  cf_status status = CF_OK;
  if (r.count > 0) {
    const py::gil_scoped_release release;
    status = cf_layer_norm(isa.c_str(), r.data, g, b, epsilon, y, r.rows(), static_cast<int32_t>(r.columns),
                           &error);
  }
  check(status, error);
  return r.out;
}

// Operations of `steps` rounds of cf_ceiling_fma or cf_ceiling_dot; the GIL is released, so that threads can measure
// together.
template <cf_status (*kCeiling)(const char*, int64_t, double*, cf_error*)>
double ceiling(const std::string& isa, int64_t steps) {
  double operations = 0;
  cf_error error = {};
  cf_status status = CF_OK;
  {
    const py::gil_scoped_release release;
    status = kCeiling(isa.c_str(), steps, &operations, &error);
  }
  check(status, error);
  return operations;
}

double ceiling_read(const std::string& isa, const py::array& x, int64_t steps) {
  if (!is_dense<float>(x)) throw py::value_error("x must be a C-contiguous float32 array");
  const auto* data = static_cast<const float*>(x.data());
  const auto count = static_cast<size_t>(x.size());
  double bytes = 0;
  float sum = 0;
  cf_error error = {};
  cf_status status = CF_OK;
  {
    const py::gil_scoped_release release;
    status = cf_ceiling_read(isa.c_str(), data, count, steps, &bytes, &sum, &error);
  }
  check(status, error);
  return bytes;
}

py::tuple layout(const std::string& isa) {
  cf_order order = {};
  cf_error error = {};
  check(cf_layout(isa.c_str(), &order, &error), error);
  return py::make_tuple(order.tile_columns, order.lstm_units);
}

cf_tensor tensor_of(const py::handle& object, size_t index);

// A prepacked matrix: (its packed elements, rows, columns).
cf_tensor packed_tensor(const py::tuple& parts, size_t index) {
  const std::string name = "tensor " + std::to_string(index);
  if (parts.size() != 3 || !py::isinstance<py::array>(parts[0])) {
    throw py::value_error(name + " is not (packed array, rows, columns)");
  }
  const py::array a = py::reinterpret_borrow<py::array>(parts[0]);
  cf_tensor t = tensor_of(a, index);
  if (a.ndim() != 1 || a.size() == 0 || t.dtype == CF_I32) {
    throw py::value_error(name + ": packed elements are float32 or int8 in one dimension");
  }
  t.rank = 2;
  t.shape[0] = parts[1].cast<int32_t>();
  t.shape[1] = parts[2].cast<int32_t>();
  t.packed_bytes = static_cast<size_t>(a.nbytes());
  return t;
}

cf_tensor tensor_of(const py::handle& object, size_t index) {
  const std::string name = "tensor " + std::to_string(index);
  if (py::isinstance<py::tuple>(object)) {
    return packed_tensor(py::reinterpret_borrow<py::tuple>(object), index);
  }
  if (!py::isinstance<py::array>(object)) throw py::value_error(name + " is not a NumPy array");
  const py::array a = py::reinterpret_borrow<py::array>(object);
  cf_tensor t = {};
  t.data = a.data();
  t.rank = static_cast<int32_t>(a.ndim());
  if (is_dense<float>(a)) {
    t.dtype = CF_F32;
  } else if (is_dense<int8_t>(a)) {
    t.dtype = CF_I8;
  } else if (is_dense<int32_t>(a)) {
    t.dtype = CF_I32;
  } else {
    throw py::value_error(name + " is not C-contiguous float32, int8 or int32");
  }
  if (a.ndim() < 1 || a.ndim() > 2)
    throw py::value_error(name + " has " + std::to_string(a.ndim()) + " dimensions, not 1 or 2");
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    if (a.shape(i) > INT32_MAX) throw py::value_error(name + " is too large");
    t.shape[i] = static_cast<int32_t>(a.shape(i));
  }
  return t;
}

class PyModel {
 public:
  PyModel(const py::array& program, const py::sequence& tensors, const std::string& isa, int threads) {
    if (!is_dense<int32_t>(program) || program.ndim() != 1) {
      throw py::value_error("program is not a C-contiguous int32 array of one dimension");
    }
    std::vector<cf_tensor> views;
    for (size_t i = 0; i < py::len(tensors); ++i) {
      views.push_back(tensor_of(tensors[i], i));
      if (views.back().packed_bytes != 0) in_place_.append(tensors[i]);
    }
    cf_error error = {};
    check(cf_model_create(static_cast<const int32_t*>(program.data()), static_cast<size_t>(program.size()),
                          views.data(), views.size(), isa.c_str(), threads, &model_, &error),
          error);
    cf_model_info(model_, &info);
    inputs.resize(static_cast<size_t>(cf_model_inputs(model_, nullptr, 0)));
    cf_model_inputs(model_, inputs.data(), static_cast<int32_t>(inputs.size()));
  }
  ~PyModel() { cf_model_destroy(model_); }
  PyModel(const PyModel&) = delete;
  PyModel& operator=(const PyModel&) = delete;

  py::array_t<float> run(const py::object& x, const py::object& lengths, const py::object& out) {
    return call(x, lengths, out, nullptr);
  }

  // (op, opcode, seconds) of one run.
  std::vector<std::tuple<int, int, double>> profile(const py::object& x, const py::object& lengths) {
    std::vector<cf_op_time> times(static_cast<size_t>(info.op_count));
    call(x, lengths, py::none(), times.data());
    std::vector<std::tuple<int, int, double>> rows;
    for (const cf_op_time& t : times) rows.emplace_back(static_cast<int>(rows.size()), t.code, t.seconds);
    return rows;
  }

  cf_info info = {};
  std::vector<cf_input_info> inputs;

 private:
  static double clock() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  // One of several inputs, or the only one.
  std::string name(const char* what, size_t i) const {
    return inputs.size() == 1 ? what : std::string(what) + "[" + std::to_string(i) + "]";
  }

  // x or lengths of one input: as it is given to a model of one input, else out of a list or tuple.
  py::object part(const py::object& given, const char* what, size_t i) const {
    if (inputs.size() == 1 || given.is_none()) return given;
    const bool listed = py::isinstance<py::list>(given) || py::isinstance<py::tuple>(given);
    if (!listed || py::len(given) != inputs.size()) {
      throw py::value_error(std::string(what) + " must be a list or tuple of " +
                            std::to_string(inputs.size()) + ", one for each input");
    }
    return given[py::int_(i)];
  }

  py::array input_array(const py::object& given, size_t i) const {
    const cf_input_info& input = inputs[i];
    const bool tokens = input.axis != 0;
    const int rank = tokens ? 3 : 2;
    const bool array = py::isinstance<py::array>(given);
    py::array x = array ? py::reinterpret_borrow<py::array>(given) : py::array();
    if (!array || !is_dense<float>(x) || x.ndim() != rank || x.shape(rank - 1) != input.width ||
        x.shape(0) > INT32_MAX || (tokens && x.shape(1) > INT32_MAX)) {
      throw py::value_error(name("x", i) + " must be a C-contiguous float32 array of shape [" +
                            (tokens ? "items, tokens, " : "items, ") + std::to_string(input.width) +
                            "], not " +
                            (array ? describe(x) : py::type::of(given).attr("__name__").cast<std::string>()));
    }
    return x;
  }

  const int32_t* lengths_of(const py::object& given, size_t i, py::ssize_t items) const {
    if (given.is_none()) return nullptr;
    if (py::isinstance<py::array>(given)) {
      const py::array a = py::reinterpret_borrow<py::array>(given);
      if (is_dense<int32_t>(a) && a.ndim() == 1 && a.shape(0) == items)
        return static_cast<const int32_t*>(a.data());
    }
    throw py::value_error(name("lengths", i) + " must be a C-contiguous int32 array with one entry per item");
  }

  py::array_t<float> call(const py::object& given, const py::object& real, const py::object& to,
                          cf_op_time* times) {
    std::vector<py::array> arrays;    // kept, as are
    std::vector<py::object> lengths;  // these, while the engine reads them
    std::vector<cf_input> views;
    arrays.reserve(inputs.size());
    lengths.reserve(inputs.size());
    views.reserve(inputs.size());
    int32_t output_tokens = 1;
    for (size_t i = 0; i < inputs.size(); ++i) {
      arrays.push_back(input_array(part(given, "x", i), i));
      const py::array& x = arrays.back();
      if (x.shape(0) != arrays[0].shape(0)) {
        throw py::value_error(name("x", i) + " has " + std::to_string(x.shape(0)) + " items, " +
                              name("x", 0) + " " + std::to_string(arrays[0].shape(0)));
      }
      const auto tokens = static_cast<int32_t>(inputs[i].axis != 0 ? x.shape(1) : 1);
      // Before the result is allocated: its size follows from this.
      if (tokens < 1 || tokens > inputs[i].max_tokens) {
        throw py::value_error((inputs.size() == 1 ? "" : name("x", i) + ": ") + std::to_string(tokens) +
                              " tokens per item; the model takes 1.." + std::to_string(inputs[i].max_tokens));
      }
      if (inputs[i].axis != 0 && inputs[i].axis == info.per_token_output) output_tokens = tokens;
      lengths.push_back(part(real, "lengths", i));
      views.push_back(
          {static_cast<const float*>(x.data()), tokens, lengths_of(lengths.back(), i, x.shape(0))});
    }
    const py::ssize_t items = arrays[0].shape(0);
    std::vector<py::ssize_t> shape = {items};
    if (info.per_token_output != 0) shape.push_back(output_tokens);
    shape.push_back(info.output_width);
    py::array_t<float> out = result(to, shape);
    for (size_t i = 0; i < arrays.size(); ++i) {
      if (overlap(arrays[i], out)) throw py::value_error("out: overlaps " + name("x", i));
    }

    const cf_call call = {
        views.data(),       static_cast<int32_t>(views.size()),  static_cast<int32_t>(items),
        out.mutable_data(), times == nullptr ? nullptr : &clock, times};
    cf_error error = {};
    cf_status status = CF_OK;
    {
      const py::gil_scoped_release release;
      status = cf_model_call(model_, &call, &error);
    }
    check(status, error);
    return out;
  }

  cf_model* model_ = nullptr;
  py::list in_place_;  // arrays that the model reads
};

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.def("available", &available);
  m.def("selected", &selected);
  m.def("layout", &layout, py::arg("isa"));
  m.def("activation", &activation, py::arg("x"), py::arg("kind"), py::arg("isa") = "auto",
        py::arg("out") = py::none());
  m.def("softmax", &softmax, py::arg("x"), py::arg("isa") = "auto", py::arg("out") = py::none());
  m.def("layer_norm", &layer_norm, py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("epsilon"),
        py::arg("isa") = "auto", py::arg("out") = py::none());
  m.def("ceiling_fma", &ceiling<cf_ceiling_fma>, py::arg("isa"), py::arg("steps"));
  m.def("ceiling_dot", &ceiling<cf_ceiling_dot>, py::arg("isa"), py::arg("steps"));
  m.def("ceiling_read", &ceiling_read, py::arg("isa"), py::arg("x"), py::arg("steps"));
  py::class_<PyModel>(m, "Model")
      .def(py::init<const py::array&, const py::sequence&, const std::string&, int>(), py::arg("program"),
           py::arg("tensors"), py::arg("isa") = "auto", py::arg("threads") = 1)
      .def("run", &PyModel::run, py::arg("x"), py::arg("lengths") = py::none(), py::arg("out") = py::none())
      .def("profile", &PyModel::profile, py::arg("x"), py::arg("lengths") = py::none())
      .def_property_readonly("isa", [](const PyModel& m) { return m.info.isa; })
      .def_property_readonly("threads", [](const PyModel& m) { return m.info.threads; })
      .def_property_readonly("per_token_input", [](const PyModel& m) { return m.info.per_token_input != 0; })
      .def_property_readonly("per_token_output",
                             [](const PyModel& m) { return m.info.per_token_output != 0; })
      .def_property_readonly("input_width", [](const PyModel& m) { return m.info.input_width; })
      .def_property_readonly("output_width", [](const PyModel& m) { return m.info.output_width; })
      .def_property_readonly("max_tokens", [](const PyModel& m) { return m.info.max_tokens; })
      .def_property_readonly("inputs",
                             [](const PyModel& m) {
                               std::vector<std::tuple<int, int, int>> rows;
                               for (const cf_input_info& i : m.inputs)
                                 rows.emplace_back(i.axis, i.width, i.max_tokens);
                               return rows;
                             })
      .def_property_readonly("arena_bytes", [](const PyModel& m) { return m.info.arena_bytes; })
      .def_property_readonly("apart_bytes", [](const PyModel& m) { return m.info.apart_bytes; })
      .def_property_readonly("packed_bytes", [](const PyModel& m) { return m.info.packed_bytes; });
}
