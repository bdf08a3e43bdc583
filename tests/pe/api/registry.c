// The registry, random bytes, arguments from a string, sockets that are not there.
#include <winsock2.h>
#include <windows.h>
#include <bcrypt.h>
#include <shellapi.h>
#include <stdio.h>

static void split(const WCHAR *line) {
    int i, n = 0;
    LPWSTR *v = CommandLineToArgvW(line, &n);
    printf("%d", n);
    for (i = 0; i < n; i++) printf(" [%ls]", v[i]);
    printf("\n");
    LocalFree(v);
}

int main(void) {
    HKEY key, sub;
    DWORD n, kind, disposition, value = 0x1234, size;
    char text[100], name[100];
    unsigned char a[16] = {0}, b[16] = {0};
    HCRYPTPROV provider;
    WSADATA data;
    LSTATUS r;

    RegDeleteTreeA(HKEY_CURRENT_USER, "Software\\rtld test");
    printf("open %ld\n", RegOpenKeyExA(HKEY_CURRENT_USER, "Software\\rtld test", 0, KEY_READ, &key));
    r = RegCreateKeyExA(HKEY_CURRENT_USER, "Software\\rtld test", 0, 0, 0, KEY_ALL_ACCESS, 0, &key, &disposition);
    printf("create %ld %lu\n", r, disposition);
    r = RegCreateKeyExW(HKEY_CURRENT_USER, L"SOFTWARE\\RTLD Test", 0, 0, 0, KEY_ALL_ACCESS, 0, &sub, &disposition);
    printf("again %ld %lu\n", r, disposition);
    RegCloseKey(sub);
    printf("set %ld %ld", RegSetValueExA(key, "Text", 0, REG_SZ, (BYTE *)"some text", 10), RegSetValueExA(key, "number", 0, REG_DWORD, (BYTE *)&value, 4));
    printf(" %ld\n", RegSetValueExW(key, 0, 0, REG_SZ, (BYTE *)L"default", 16));
    size = sizeof text;
    r = RegQueryValueExA(key, "TEXT", 0, &kind, (BYTE *)text, &size);
    printf("query %ld %lu %lu %s\n", r, kind, size, text);
    size = 3;
    r = RegQueryValueExA(key, "text", 0, &kind, (BYTE *)text, &size);
    printf("no room %ld %lu\n", r, size);
    size = 4;
    r = RegQueryValueExA(key, "number", 0, &kind, (BYTE *)&n, &size);
    printf("number %ld %lu %lx\n", r, kind, n);
    size = sizeof text;
    r = RegQueryValueExA(key, "", 0, &kind, (BYTE *)text, &size);
    printf("default %ld %s\n", r, text);
    printf("none %ld\n", RegQueryValueExA(key, "none", 0, 0, 0, 0));
    RegCreateKeyExA(key, "b\\deep", 0, 0, 0, KEY_ALL_ACCESS, 0, &sub, 0);
    RegCloseKey(sub);
    RegCreateKeyExA(key, "a", 0, 0, 0, KEY_ALL_ACCESS, 0, &sub, 0);
    RegCloseKey(sub);
    for (n = 0;; n++) {
        size = sizeof name;
        r = RegEnumKeyExA(key, n, name, &size, 0, 0, 0, 0);
        if (r) break;
        printf("key %s %lu\n", name, size);
    }
    printf("end %ld\n", r);
    r = RegQueryInfoKeyA(key, 0, 0, 0, &n, 0, 0, &kind, 0, 0, 0, 0);
    printf("info %ld keys %lu values %lu\n", r, n, kind);
    r = RegDeleteKeyA(key, "b");
    printf("delete full %ld", r);
    r = RegDeleteKeyA(key, "a");
    printf(" delete %ld", r);
    r = RegDeleteValueA(key, "number");
    printf(" value %ld", r);
    r = RegDeleteValueA(key, "number");
    printf(" again %ld", r);
    r = RegDeleteTreeA(HKEY_CURRENT_USER, "Software\\rtld test");
    printf(" tree %ld\n", r);

    r = CryptAcquireContextA(&provider, 0, 0, PROV_RSA_FULL, CRYPT_VERIFYCONTEXT);
    printf("random %ld", r);
    printf(" %d", CryptGenRandom(provider, 16, a));
    printf(" %ld", BCryptGenRandom(0, b, 16, BCRYPT_USE_SYSTEM_PREFERRED_RNG));
    printf(" differ %d", memcmp(a, b, 16) != 0);
    printf(" release %d\n", CryptReleaseContext(provider, 0));

    split(L"prog one \"two words\" a\\\\b \"q\\\"uote\" \"\" end");
    split(L"\"C:\\Program Files\\x.exe\" \\\\\"x y\\\\\" z");
    split(L"prog a\"b\"\" c\" d");
    split(L"x \"a\\\\\" b");

    printf("startup %d", WSAStartup(MAKEWORD(2, 2), &data));
    printf(" version %x\n", data.wVersion);
    printf("%lx %x %lx %s\n", htonl(0x01020304), htons(0x0102), inet_addr("1.2.3.4"), inet_ntoa(*(struct in_addr *)"\x7f\0\0\1"));
    printf("cleanup %d\n", WSACleanup());
    return 0;
}
