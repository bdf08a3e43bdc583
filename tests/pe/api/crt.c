// The C library: formats, scanning, numbers, strings, files, sorting, time.
#define __USE_MINGW_ANSI_STDIO 0 // msvcrt.dll's printf, not the one that mingw links in
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <wchar.h>
#include <direct.h>

static int by_value(const void *a, const void *b) { return *(int *)a - *(int *)b; }
static int formatted(char *out, size_t size, const char *form, ...) {
    va_list list;
    int n;
    va_start(list, form);
    n = _vsnprintf(out, size, form, list);
    va_end(list);
    return n;
}

int main(void) {
    char text[200], word[50], *end, *token;
    wchar_t wide[100];
    int i, n, a, b, list[] = {5, 3, 9, 1, 7, 3}, key = 7, *found;
    double x;
    float f;
    long l;
    char c;
    FILE *file;
    struct stat st;
    struct tm tm, *at;
    time_t when = 86400 * 365 + 3661;
    struct _finddata_t data;
    intptr_t h;

    printf("%d %i %5d|%-5d|%05d|%+d|% d|%.3d|%x|%#x|%X|%o|%u|%c|%s|%.2s|%10s|%-10s|%%\n", 1, -2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 8, 9u, 'c', "text", "cut", "right", "left");
    printf("%f %.0f %.3f %e %.2E %g %g %g %G %#g %10.2f|%-10.1f|%+f\n", 1.5, 2.5, 3.14159, 12345.678, 0.00012, 100000.0, 1000000.0, 0.0001, 1e-10, 2.0, 3.14159, 2.25, 1.0);
    printf("%g %g %g %.10g %.17g %g\n", 1.0 / 3, 1e300, -0.0, 1.0 / 3, 0.1, 123456789.0);
    printf("%I64d %I64u %I64x %hd %hhd %ld %d\n", -5LL, 18446744073709551615ULL, 0xABCDEFLL, (short)-1, 300, 7L, 8);
    printf("%ls %S %wc %lc|%*d|%-*d|%.*f|%d\n", L"wide", L"Wide", L'w', L'l', 5, 42, 5, 42, 2, 3.14159, 9);
    printf("<%s>\n", (char *)0);
    for (i = 0; i < 6; i++) { n = formatted(text, 4, "%.*s", i, "abcdef"); printf("%d ", n); }
    printf("%.4s\n", text);
    n = sscanf("12 -34 0x1f 077 3.5e2 word [abc] x", "%d %d %i %i %f %s [%[a-c]] %c", &a, &b, &i, &key, &f, word, text, &c);
    printf("%d: %d %d %d %d %g %s %s %c\n", n, a, b, i, key, f, word, text, c);
    n = sscanf("99bottles", "%2d%3s%n", &a, word, &b);
    printf("%d: %d %s %d\n", n, a, word, b);
    n = sscanf("x", "%d", &a);
    printf("%d %d\n", n, sscanf("", "%d", &a));
    n = sscanf("1.25 7 9", "%lf %*d %ld", &x, &l);
    printf("%d: %g %ld\n", n, x, l);

    printf("%ld %ld %ld %lu\n", strtol("  -0x1fz", &end, 16), strtol("777", 0, 8), strtol("99999999999", 0, 10), strtoul("4294967295", 0, 10));
    printf("%g %g %g %s\n", strtod("1e5x", &end), strtod("-.5", 0), atof("3.25"), end);
    printf("%d %d %I64d\n", atoi("42abc"), atoi("-"), _strtoi64("-9000000000", 0, 10));
    printf("%s %s %s\n", _itoa(255, text, 16), _ltoa(-5, word, 10), _ui64toa(1ULL << 40, (char *)wide, 10));
    key = 7;
    qsort(list, 6, sizeof *list, by_value);
    for (i = 0; i < 6; i++) printf("%d ", list[i]);
    found = bsearch(&key, list, 6, sizeof *list, by_value);
    printf("at %d\n", (int)(found - list));
    srand(1);
    a = rand();
    printf("%d %d\n", a, rand());
    printf("%d %d %d\n", abs(-3), div(17, 5).quot, div(17, 5).rem);

    strcpy(text, "one,two;;three");
    for (token = strtok(text, ",;"); token; token = strtok(0, ",;")) printf("<%s>", token);
    printf("\n%d %d %d %s %s %s\n", strcmp("a", "b"), strncmp("abc", "abd", 2), _stricmp("ABC", "abd"), strchr("hello", 'l'), strrchr("hello", 'l'), strstr("haystack", "st"));
    printf("%d %d %s\n", (int)strspn("aabbc", "ab"), (int)strcspn("hello", "lo"), strpbrk("hello", "ol"));
    strcpy(text, "MiXed");
    printf("%s %s", _strlwr(text), _strupr(word));
    printf(" %s", _strrev(strcpy(text, "abc")));
    memmove(text + 1, text, 3);
    printf(" %.4s %d\n", text, memcmp("abc", "abd", 3));
    for (i = 0; i < 128; i++) printf("%d", !!isalpha(i) + !!isdigit(i) * 2 + !!isspace(i) * 4 + !!ispunct(i) * 5 + !!iscntrl(i) * 3);
    printf("\n%c%c\n", toupper('x'), tolower('X'));
    wcscpy(wide, L"wide");
    wcscat(wide, L" string");
    printf("%d %ls %d %ls\n", (int)wcslen(wide), wide, wcscmp(L"a", L"b"), wcsstr(wide, L"str"));
    printf("%d", _snwprintf(wide, 100, L"%s %hs %d %5.2f", L"wide", "narrow", 42, 2.5));
    printf(" %ls %ld\n", wide, wcstol(L"123x", 0, 10));
    printf("%d %d", (int)mbstowcs(wide, "bytes", 100), (int)wcstombs(text, L"units", 100));
    printf(" %ls %s\n", wide, text);

    printf("%g %g %g %g %g %g\n", sin(1), pow(2, 10), fmod(7, 3), floor(-2.5), ceil(2.1), sqrt(2));
    printf("%g", frexp(10, &n));
    printf(" %d %g", n, ldexp(0.5, 4));
    printf(" %g", modf(3.75, &x));
    printf(" %g\n", x);

    file = fopen("written.txt", "w");
    fprintf(file, "line %d\nsecond\n", 1);
    fputs("third", file);
    fputc('!', file);
    fclose(file);
    file = fopen("written.txt", "rb");
    n = (int)fread(text, 1, 100, file);
    printf("%d bytes, CR %d\n", n, text[6] == '\r');
    fclose(file);
    file = fopen("written.txt", "r");
    printf("%s", fgets(text, 100, file));
    n = fscanf(file, "%s", word);
    printf("%d %s at %ld", n, word, ftell(file));
    fseek(file, 0, SEEK_SET);
    printf(" %c", fgetc(file));
    ungetc('#', file);
    printf("%c", getc(file));
    while (fgets(text, 100, file)) ;
    printf(" %s end %d error %d\n", text, !!feof(file), ferror(file));
    fclose(file);
    file = fopen("written.txt", "a+");
    fprintf(file, "more");
    rewind(file);
    printf("%d\n", (int)fread(text, 1, 4, file));
    fclose(file);
    printf("%d", stat("written.txt", &st));
    printf(" size %ld directory %d\n", (long)st.st_size, !!(st.st_mode & _S_IFDIR));
    printf("%d", stat("none", &st));
    printf(" errno %d %s\n", errno, strerror(errno));
    printf("%d %d\n", fopen("nowhere/none", "r") == 0, errno);
    n = _open("low.bin", _O_CREAT | _O_RDWR | _O_BINARY, _S_IREAD | _S_IWRITE);
    printf("%d %d", n > 2, _write(n, "abc\ndef", 7));
    printf(" %ld", _lseek(n, 2, SEEK_SET));
    printf(" %d", _read(n, text, 3));
    printf(" %.3s %ld %d\n", text, _filelength(n), _close(n));
    printf("%d %d %d\n", rename("low.bin", "renamed.bin"), _access("renamed.bin", 0), _access("low.bin", 0));
    printf("%d %d\n", _mkdir("made"), _mkdir("made"));
    h = _findfirst("*.bin", &data);
    printf("%s %ld", data.name, (long)data.size);
    printf(" next %d", _findnext(h, &data));
    printf(" %d\n", _findclose(h));
    printf("%d %d %d\n", remove("renamed.bin"), remove("renamed.bin"), _rmdir("made"));
    remove("written.txt");

    at = gmtime(&when);
    printf("%s", asctime(at));
    strftime(text, 200, "%Y-%m-%d %H:%M:%S %a %A %b %B %j %p %I %y %w %U %% %x %X", at);
    printf("%s\n", text);
    memset(&tm, 0, sizeof tm);
    tm.tm_year = 100, tm.tm_mon = 13, tm.tm_mday = 32;
    printf("%ld", (long)mktime(&tm));
    printf(" %d-%d-%d %d %d\n", tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_wday, tm.tm_yday);
    printf("%s %s %d\n", setlocale(LC_ALL, 0), localeconv()->decimal_point, (int)difftime(10, 4));
    _putenv("OWN=given");
    printf("%s %d\n", getenv("OWN"), getenv("NONE_OF_THAT") == 0);
    errno = 0;
    x = strtod("1e999", 0);
    printf("%d %d\n", x > 1e308, errno);
    fflush(stdout);
    return 0;
}
