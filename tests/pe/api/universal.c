// ucrtbase.dll where it is not as msvcrt.dll: formats, dates. Its functions are asked for by name.
#include <windows.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

typedef int (__cdecl *vsprintf_t)(unsigned long long, char *, size_t, const char *, void *, va_list);
typedef int (__cdecl *vswprintf_t)(unsigned long long, wchar_t *, size_t, const wchar_t *, void *, va_list);
typedef int (__cdecl *vsscanf_t)(unsigned long long, const char *, size_t, const char *, void *, va_list);
static vsprintf_t narrow;
static vswprintf_t wide;
static vsscanf_t scan;

static void say(unsigned long long options, size_t room, const char *form, ...) {
    char out[200] = "untouched";
    va_list list;
    int n;
    va_start(list, form);
    n = narrow(options, out, room, form, 0, list);
    va_end(list);
    printf("%d %.30s\n", n, out);
}
static void say_wide(unsigned long long options, const wchar_t *form, ...) {
    wchar_t out[200];
    va_list list;
    int n;
    va_start(list, form);
    n = wide(options, out, 200, form, 0, list);
    va_end(list);
    printf("%d %ls\n", n, out);
}
static int read(const char *text, const char *form, ...) {
    va_list list;
    int n;
    va_start(list, form);
    n = scan(0, text, (size_t)-1, form, 0, list);
    va_end(list);
    return n;
}

int main(void) {
    HMODULE dll = LoadLibraryA("ucrtbase.dll");
    char *(__cdecl *day)(const struct tm *) = (void *)GetProcAddress(dll, "asctime");
    size_t (__cdecl *length)(const char *, size_t) = (void *)GetProcAddress(dll, "strnlen");
    struct tm tm = {1, 2, 3, 4, 5, 106, 0, 154};
    double zero = 0, x = 0;
    int a = 0, b = 0;
    narrow = (void *)GetProcAddress(dll, "__stdio_common_vsprintf");
    wide = (void *)GetProcAddress(dll, "__stdio_common_vswprintf");
    scan = (void *)GetProcAddress(dll, "__stdio_common_vsscanf");
    printf("%s%d\n", day(&tm), (int)length("seven 7", 5));
    say(2, 200, "%g %e %E %f", 1e20, 12345.678, 1e-7, 2.5);
    say(2, 200, "%zd %td %jd %lld", (size_t)5, (ptrdiff_t)-5, 7LL, -9LL);
    say(2, 200, "%f %F %g", 1 / zero, 1 / zero, -1 / zero);
    say(2, 5, "%s", "longer than that");
    say(1, 5, "%s", "longer than that");
    say(1, 4, "%s", "four");
    say(2, 200, "%s|%10s|%-6s|%c|%x|%#o", "text", "right", "l", 'c', 255, 8);
    say_wide(4, L"%s %d", L"wide", 5);
    say_wide(0, L"%ls %hs", L"wide", "narrow");
    a = read("12 0x1f 2.5", "%d %x %lf", &a, &b, &x);
    printf("%d %d %g\n", a, b, x);
    return 0;
}
