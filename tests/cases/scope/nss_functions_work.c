//: main
//: arch x86_64
//: stdout "root 0"

// getpwuid loads libnss_* by dlopen from inside libc.
#include <pwd.h>
#include <stdio.h>
int main(void) {
    struct passwd *entry = getpwuid(0);
    printf("%s %d\n", entry ? entry->pw_name : "?", entry ? (int)entry->pw_uid : -1);
}
