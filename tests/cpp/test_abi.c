/* The public header in C, the engine a shared library. */
#include <stdio.h>
#include <string.h>

#include "claude_flow.h"

static int failures = 0;

static void expect(int holds, const char *what) {
  if (holds) return;
  failures++;
  fprintf(stderr, "FAILED: %s\n", what);
}

int main(void) {
  /* relu(x W^T), as in docs/model_format.md: [1, 3] -> [1, 2] */
  const int32_t program[] = {1, 2, 1, 0, 1, 1, 0, 3, 0, 2, 1, 7, 0, 1, 0, 0, -1, -1, 1};
  const float weight[] = {1, 0, 0, 0, -1, 0}, x[] = {4, 5, 6};
  const cf_tensor tensor = {weight, CF_F32, 2, {2, 3}, 0};
  const size_t words = sizeof program / sizeof *program;
  const char *isa = NULL;
  float y[4] = {0, 0, 0, 0};
  cf_model *model = NULL;
  cf_error error;
  cf_info info;

  expect(strstr(cf_available(), "scalar") != NULL, "scalar is available");
  expect(cf_selected(&isa, &error) == CF_OK && strstr(cf_available(), isa) != NULL, "one is selected");
  expect(cf_softmax("auto", y, y, 1, 4, &error) == CF_OK && y[3] == 0.25f, "softmax");

  expect(cf_model_create(program, words, &tensor, 1, "auto", 1, &model, &error) == CF_OK, "a model");
  cf_model_info(model, &info);
  expect(info.input_width == 3 && info.output_width == 2 && info.op_count == 1, "its sizes");
  expect(cf_model_run(model, x, 1, 1, NULL, y, &error) == CF_OK && y[0] == 4 && y[1] == 0, "its result");
  {
    const cf_input input = {x, 1, NULL};
    const cf_call call = {&input, 1, 1, y, NULL, NULL};
    cf_input_info about;
    y[0] = y[1] = -1;
    expect(cf_model_inputs(model, &about, 1) == 1 && about.width == 3 && about.axis == 0, "its input");
    expect(cf_model_call(model, &call, &error) == CF_OK && y[0] == 4 && y[1] == 0, "its result by a call");
  }
  cf_model_destroy(model);

  expect(cf_model_create(program, words - 1, &tensor, 1, "auto", 1, &model, &error) == CF_INVALID, "cut off");
  expect(model == NULL && error.text[0] != '\0', "an error says why");
  expect(cf_model_create(program, words, &tensor, 1, "avx9000", 1, &model, &error) == CF_UNSUPPORTED,
         "an unknown instruction set");
  expect(strcmp(error.text + strlen(error.text) - strlen(cf_available()), cf_available()) == 0, "it says which there are");
  {
    /* Those of other CPUs, and of better ones of this kind, are refused by a line and never run. */
    const char *words_of_all[] = {"sse41", "avx2", "avxvnni", "avx512", "avx512vnni", "neon", "neondot", "neoni8mm",
                                  "relaxed"};
    for (size_t i = 0; i < sizeof words_of_all / sizeof *words_of_all; i++) {
      char list[200], word[20];
      snprintf(list, sizeof list, " %s ", cf_available());
      snprintf(word, sizeof word, " %s ", words_of_all[i]);
      if (strstr(list, word) != NULL) continue;
      expect(cf_model_create(program, words, &tensor, 1, words_of_all[i], 1, &model, &error) == CF_UNSUPPORTED &&
                 strstr(error.text, words_of_all[i]) != NULL && strchr(error.text, '\n') == NULL,
             words_of_all[i]);
    }
  }
  return failures == 0 ? 0 : 1;
}
