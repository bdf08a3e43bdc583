/* What node.exe is for an add-on: an image that exports Node-API (nodejs.org/api/n-api.html), as much of it as one asks for. */
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <windows.h>
#define NODE __declspec(dllexport)
typedef struct value { int kind; void *data; size_t size; const char *name; } value;
typedef struct { int argc; value **argv; } info;
typedef value *(*callback)(void *env, info *);
typedef struct {
    int version;
    unsigned flags;
    const char *file;
    value *(*init)(void *env, value *exports);
    const char *name;
    void *priv, *reserved[4];
} napi_module;
static napi_module *registered;
static value functions[8], numbers[2];
static int made;

NODE void napi_module_register(napi_module *module) {
    printf("registered: version %d, %s\n", module->version, module->name);
    registered = module;
}
NODE int napi_create_function(void *env, const char *name, size_t length, callback f, void *data, value **result) {
    printf("create function\n");
    functions[made].kind = 1;
    functions[made].data = (void *)f;
    *result = &functions[made++];
    return 0;
}
NODE int napi_set_named_property(void *env, value *object, const char *name, value *what) {
    printf("property %s\n", name);
    what->name = name;
    return 0;
}
NODE int napi_get_cb_info(void *env, info *in, size_t *argc, value **argv, void *self, void *data) {
    size_t i;
    for (i = 0; i < *argc; i++) argv[i] = in->argv[i];
    *argc = in->argc;
    return 0;
}
NODE int napi_get_buffer_info(void *env, value *v, void **data, size_t *length) {
    *data = v->data;
    if (length) *length = v->size;
    return 0;
}
NODE int napi_get_value_uint32(void *env, value *v, uint32_t *result) {
    *result = (uint32_t)v->size;
    return 0;
}

static void call(const char *name, int argc, value **argv) {
    info in = {argc, argv};
    int i;
    for (i = 0; i < made; i++)
        if (!strcmp(functions[i].name, name)) { ((callback)functions[i].data)(0, &in); return; }
    printf("no function %s\n", name);
}

int main(int argc, char **argv) {
    unsigned char source[61], mask[4] = {0x12, 0x9a, 0xf0, 0x5c}, out[80] = {0};
    value exports = {0}, v[5] = {{2, source, sizeof source}, {2, mask, 4}, {2, out, sizeof out}, {3, 0, 7}, {3, 0, sizeof source}};
    value *all[5] = {&v[0], &v[1], &v[2], &v[3], &v[4]}, *two[2] = {&v[2], &v[1]};
    unsigned i;
    HMODULE addon = LoadLibraryA(argv[1]);
    if (!addon) { printf("error %lu\n", GetLastError()); return 1; }
    printf("init %d\n", registered->init(0, &exports) == &exports);
    for (i = 0; i < sizeof source; i++) source[i] = (unsigned char)(i * 37 + 5);
    call("mask", 5, all);
    for (i = 0; i < sizeof out; i++) printf("%02x", out[i]);
    printf("\n");
    v[2].data = out + 7;
    v[2].size = sizeof source;
    call("unmask", 2, two);
    printf("same %d\n", memcmp(out + 7, source, sizeof source) == 0);
    return 6;
}
