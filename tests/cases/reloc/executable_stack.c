//: main -Wl,-z,execstack
//: arch x86_64
//: stdout executable

#include <stdio.h>
#include <string.h>
int main(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[stack]")) puts(strstr(line, "rwxp") ? "executable" : "not executable");
}
