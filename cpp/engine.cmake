# Sources of the engine, for the native build and for emscripten/: everything but the kernels of an instruction set.
# The ops come from their list, so that a row there and its file are all that a new one takes.
set(list ${CMAKE_CURRENT_LIST_DIR}/ops/ops.inc)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
file(STRINGS ${list} rows REGEX "^OP\\(")
list(TRANSFORM rows REPLACE "^OP\\([0-9]+, ([a-z0-9_]+),.*" "ops/\\1.cpp" OUTPUT_VARIABLE ENGINE_SOURCES)
list(APPEND ENGINE_SOURCES
  base/isa.cpp
  base/pool.cpp
  kernels/select.cpp
  ops/operands.cpp
  ops/ops.cpp
  ops/pack.cpp
  ops/product.cpp
  model/c_api.cpp
  model/model.cpp
  model/plan.cpp
  model/program.cpp)
list(TRANSFORM ENGINE_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
