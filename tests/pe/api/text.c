// Code pages, case, order, classes, dates, locale, messages, environment.
#include <windows.h>
#include <stdio.h>
#include <string.h>

static void hex(const void *p, int n) { int i; for (i = 0; i < n; i++) printf("%02x", ((unsigned char *)p)[i]); printf("\n"); }

static void to_wide(UINT page, DWORD flags, const char *text, int size) {
    WCHAR out[64];
    int n = MultiByteToWideChar(page, flags, text, size, out, 64);
    printf("wide %u %d error %lu ", page, n, n ? 0 : GetLastError());
    hex(out, 2 * n);
}
static void to_bytes(UINT page, DWORD flags, const WCHAR *text, int size) {
    char out[64];
    BOOL used = 7;
    int n = WideCharToMultiByte(page, flags, text, size, out, 64, 0, page == CP_UTF8 ? 0 : &used);
    printf("bytes %u %d used %d error %lu ", page, n, used, n ? 0 : GetLastError());
    hex(out, n);
}
static void map(DWORD flags, const WCHAR *text) {
    WCHAR out[64];
    int n = LCMapStringW(0x409, flags, text, -1, out, 64);
    printf("map %lx %d ", flags, n);
    hex(out, 2 * n);
}
static void order(DWORD flags, const WCHAR *a, const WCHAR *b) { printf("%d", CompareStringW(0x409, flags, a, -1, b, -1)); }

int main(void) {
    static const UINT pages[] = {1252, 437, 65001, 850, 1251, 28591, 20127};
    char text[300], bytes[128];
    WCHAR wide[300];
    WORD types[128];
    FILETIME ft, local;
    SYSTEMTIME st;
    CPINFO info;
    int i, n;
    WORD d, t;
    ULARGE_INTEGER u;
    char *args[3] = {"first", (char *)(INT_PTR)42, "third"};

    for (i = 0; i < 128; i++) bytes[i] = (char)(i + 128);
    for (i = 0; i < 6; i++) {
        if (pages[i] == 65001) continue;
        n = MultiByteToWideChar(pages[i], 0, bytes, 128, wide, 300);
        printf("%u: %d ", pages[i], n);
        hex(wide, 2 * n);
    }
    to_wide(CP_UTF8, 0, "z\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", -1);
    to_wide(CP_UTF8, MB_ERR_INVALID_CHARS, "\xc3(", 2);
    to_wide(CP_ACP, 0, "abc", 2);
    to_wide(12345, 0, "abc", 2);
    to_wide(CP_UTF8, 0, "abc", 0);
    to_bytes(CP_UTF8, 0, L"z\x00e4\x20ac\xd83d\xde00", -1);
    to_bytes(1252, 0, L"z\x00e4\x20ac\x4e2d", -1);
    to_bytes(437, 0, L"\x00e9\x2592", 2);
    to_bytes(CP_UTF8, WC_ERR_INVALID_CHARS, L"a\xd800", -1);
    printf("room %d", MultiByteToWideChar(1252, 0, "abcdef", 6, wide, 3));
    printf(" error %lu\n", GetLastError());
    for (i = 0; i < 3; i++) printf("page %u %d %u %d\n", pages[i], GetCPInfo(pages[i], &info), info.MaxCharSize, info.DefaultChar[0]);
    printf("acp %u oem %u valid %d %d lead %d\n", GetACP(), GetOEMCP(), IsValidCodePage(1252), IsValidCodePage(7), IsDBCSLeadByteEx(932, 0x81));

    map(LCMAP_UPPERCASE, L"aZ\x00e4\x00df\x03b1\x0444");
    map(LCMAP_LOWERCASE, L"aZ\x00c4\x00df\x0391\x0424");
    order(0, L"a", L"b"); order(0, L"a", L"A"); order(0, L"A", L"b"); order(0, L"abc", L"ab"); order(0, L"", L"");
    order(NORM_IGNORECASE, L"HeLLo", L"hEllO"); order(0, L"1", L"a"); order(0, L"!", L"1"); order(0, L"\x00e4", L"b");
    order(SORT_STRINGSORT, L"co-op", L"coop"); order(0, L"Zebra", L"apple");
    printf("\n%d %d %d %d\n", lstrcmpA("a", "B"), lstrcmpiA("abc", "ABC"), lstrcmpW(L"x", L"w"), lstrcmpiW(L"Q", L"q"));
    printf("ordinal %d %d\n", CompareStringOrdinal(L"a", -1, L"B", -1, FALSE), CompareStringOrdinal(L"a", -1, L"A", -1, TRUE));

    for (i = 0; i < 128; i++) wide[i] = (WCHAR)i;
    GetStringTypeW(CT_CTYPE1, wide, 128, types);
    for (i = 0; i < 128; i++) printf("%x%c", types[i], i % 32 == 31 ? '\n' : ' ');
    for (i = 0; i < 96; i++) wide[i] = (WCHAR)(i + 160);
    GetStringTypeW(CT_CTYPE1, wide, 96, types);
    for (i = 0; i < 96; i++) printf("%x%c", types[i] & 0x103, i % 32 == 31 ? '\n' : ' ');
    printf("%d %d %d %d\n", IsCharAlphaA('a'), IsCharAlphaNumericA('_'), IsCharUpperA('a'), IsCharLowerW(L'a'));
    strcpy(text, "mixed Case");
    printf("%s", CharUpperA(text));
    printf(" %s\n", CharLowerA(text));
    lstrcpynA(text, "longer than that", 7);
    printf("%s %d %d\n", text, lstrlenA(text), lstrlenW(L"wide"));
    printf("%s\n", lstrcatA(text, "!"));
    wsprintfA(text, "%d|%5s|%-5s|%x|%08lX|%c|%ls", -5, "ab", "cd", 255, 255L, 'z', L"wide");
    printf("%s\n", text);

    u.QuadPart = 132223104000000000ULL + 12345678;
    ft.dwLowDateTime = u.LowPart, ft.dwHighDateTime = u.HighPart;
    n = FileTimeToSystemTime(&ft, &st);
    printf("time %d %u-%u-%u day %u %u:%u:%u.%u\n", n, st.wYear, st.wMonth, st.wDay, st.wDayOfWeek, st.wHour, st.wMinute, st.wSecond, st.wMilliseconds);
    n = SystemTimeToFileTime(&st, &local);
    printf("back %d %d\n", n, CompareFileTime(&ft, &local));
    st.wMonth = 13;
    printf("no month %d", SystemTimeToFileTime(&st, &local));
    printf(" error %lu\n", GetLastError());
    st.wMonth = 2, st.wDay = 29, st.wYear = 2024, st.wHour = 15, st.wMinute = 4, st.wSecond = 9;
    n = SystemTimeToFileTime(&st, &ft);
    printf("leap %d %lu\n", n, ft.dwHighDateTime);
    n = FileTimeToDosDateTime(&ft, &d, &t);
    printf("dos %d %x %x %d %lx\n", n, d, t, DosDateTimeToFileTime(d, t, &local), local.dwLowDateTime);
    n = GetDateFormatA(0x409, 0, &st, "dddd, d MMMM yyyy 'at' yy MM dd ddd MMM M", text, 300);
    printf("%d %s\n", n, text);
    n = GetTimeFormatA(0x409, 0, &st, "h:mm:ss tt HH H t", text, 300);
    printf("%d %s\n", n, text);
    n = GetDateFormatA(0x409, 0, &st, 0, text, 300);
    printf("%d %s\n", n, text);
    n = GetTimeFormatW(0x409, 0, &st, 0, wide, 300);
    printf("%d %ls\n", n, wide);
    n = GetLocaleInfoA(0x409, LOCALE_SDECIMAL, text, 300);
    printf("%d %s", n, text);
    GetLocaleInfoA(0x409, LOCALE_SDAYNAME1, text, 300);
    printf(" %s", text);
    GetLocaleInfoA(0x409, LOCALE_SABBREVMONTHNAME12, text, 300);
    printf(" %s", text);
    n = GetLocaleInfoW(0x409, LOCALE_SISO639LANGNAME, wide, 2);
    printf(" %d %lu\n", n, GetLastError());
    printf("lcid %lx %lx\n", LocaleNameToLCID(L"en-US", 0), GetUserDefaultLCID());

    n = FormatMessageA(FORMAT_MESSAGE_FROM_STRING | FORMAT_MESSAGE_ARGUMENT_ARRAY, "%1 is %2!d!, not %3!8s!.%n100%% %0 rest", 0, 0, text, 300, (va_list *)args);
    printf("%d %s|\n", n, text);
    n = FormatMessageW(FORMAT_MESSAGE_FROM_STRING | FORMAT_MESSAGE_IGNORE_INSERTS, L"%1 stays", 0, 0, wide, 300, 0);
    printf("%d %ls|\n", n, wide);
    n = FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, 0, 0x12345, 0, text, 300, 0);
    printf("%d error %lu\n", n, GetLastError());

    SetEnvironmentVariableA("Own", "value");
    n = ExpandEnvironmentStringsA("<%own%> %unknown% 100%", text, 300);
    printf("%d %s\n", n, text);
    printf("needs %lu\n", GetEnvironmentVariableA("OWN", text, 3));
    printf("unset %d", SetEnvironmentVariableA("Own", 0));
    n = GetEnvironmentVariableA("own", text, 300);
    printf(" %d error %lu\n", n, GetLastError());
    printf("%d %d %d\n", MulDiv(10, 7, 3), MulDiv(-10, 7, 4), MulDiv(1, 1, 0));
    return 0;
}
