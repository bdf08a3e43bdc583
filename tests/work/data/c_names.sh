# C: NSS (getpwnam, getgrouplist, getaddrinfo, getservbyname), iconv_open, setlocale, regcomp, wordexp, glob, ftw, resolver
# needs: gcc
# with:
# with: --lazy
# with: --interp
cat >t.c <<'END'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <iconv.h>
#include <langinfo.h>
#include <locale.h>
#include <netdb.h>
#include <printf.h>
#include <pthread.h>
#include <pwd.h>
#include <regex.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>
#include <wordexp.h>
static void *look(void *p) { struct passwd *w = getpwnam("root"); return (void *)(long)(w && w->pw_uid == 0); }
static int files; static int visit(const char *p, const struct stat *s, int f, struct FTW *w) { files++; return 0; }
static int conv(const char *to, const char *from, const char *in) { iconv_t c = iconv_open(to, from); if (c == (iconv_t)-1) { printf("%s: no\n", to); return 0; } char b[100], *o = b, *i = (char *)in; size_t n = strlen(in), m = 100; long r = iconv(c, &i, &n, &o, &m); printf("%s %ld:", to, r); for (char *q = b; q < o; q++) printf(" %02x", (unsigned char)*q); puts(""); return iconv_close(c); }
int main(void) {
    printf("%s %d\n", setlocale(LC_ALL, "C.UTF-8"), (int)MB_CUR_MAX); look(0); pthread_t t[8]; void *r; int ok = 0; for (int i = 0; i < 8; i++) pthread_create(&t[i], 0, look, 0); for (int i = 0; i < 8; i++) { pthread_join(t[i], &r); ok += (int)(long)r; } printf("%d\n", ok > 0);
    struct passwd *p = getpwuid(1); printf("%s %s\n", p->pw_name, getpwnam("nosuch") ? "?" : "none"); int n = 20; gid_t g[20]; getgrouplist("root", 0, g, &n); printf("%d %s\n", n, getgrgid(g[0])->gr_name); setpwent(); for (n = 0; getpwent(); n++) ; printf("%d users\n", n); 
    struct addrinfo h = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *a; n = getaddrinfo("localhost", "http", &h, &a); printf("%d %s\n", n, n ? gai_strerror(n) : inet_ntoa(((struct sockaddr_in *)a->ai_addr)->sin_addr)); printf("%s\n", gai_strerror(getaddrinfo("nosuch.invalid", 0, &h, &a))); printf("%d %s\n", ntohs(getservbyname("https", "tcp")->s_port), getprotobynumber(17)->p_name); char b[100]; struct sockaddr_in s = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) }; getnameinfo((void *)&s, sizeof s, b, 100, 0, 0, NI_NUMERICHOST); puts(b); printf("%d\n", gethostbyname("localhost") != 0);
    conv("UTF-16BE", "UTF-8", "h\303\251"); conv("EUC-JP", "UTF-8", "\346\227\245"); conv("KOI8-R", "UTF-8", "\320\226"); conv("NOSUCH", "UTF-8", "x"); conv("ASCII//TRANSLIT", "UTF-8", "\342\202\254"); conv("GB18030", "UTF-16LE", "ab"); conv("INTERNAL", "ISO-8859-15", "\244");
    regex_t e; regcomp(&e, "([a-z]+)([0-9]+)", REG_EXTENDED); regmatch_t m[3]; printf("%d", regexec(&e, "xx abc123", 3, m, 0)); printf(" %d\n", m[2].rm_so); wordexp_t w; wordexp("a $HOME_NOT b{1,2} $((6*7)) $(echo sub)", &w, 0); for (size_t i = 0; i < w.we_wordc; i++) printf("<%s>", w.we_wordv[i]); puts(""); glob_t gl; glob("*.c", 0, 0, &gl); printf("%s\n", gl.gl_pathv[0]); nftw(".", visit, 10, FTW_PHYS); printf("%d\n", files);
    wchar_t wc[10]; printf("%d %d %lc\n", (int)mbstowcs(wc, "\303\251t\303\251", 10), iswalpha(wc[0]), towupper(wc[0])); printf("%'d %s %s\n", 1234567, nl_langinfo(CODESET), nl_langinfo(MON_1)); locale_t l = newlocale(LC_ALL_MASK, "C", 0); printf("%.3f\n", strtod_l("1.5", 0, l)); printf("%d\n", setlocale(LC_ALL, "nosuch") == 0);
    struct __res_state rs = { 0 }; printf("%d\n", res_ninit(&rs)); unsigned char d[100]; printf("%d\n", dn_comp("a.example", d, 100, 0, 0)); FILE *f = fopen("u16", "w,ccs=UTF-16LE"); fwprintf(f, L"\u20ac"); fclose(f); return 0;
}
END
gcc -w t.c -o t -lresolv -pthread
#== run
$RUN ./t; echo "status $?"; od -An -tx1 u16
