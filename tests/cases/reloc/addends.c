//: lib liba.so
//: lib libb.so -la
//: main -la -lb
//: musl
//: stdout "30 20 b"

#ifdef LIB_A
int array[] = {10, 20, 30};
#elif defined LIB_B
extern int array[];
int *third = &array[2];
int *before_third = &array[1];
static char text[] = "ab";
char *second_letter = text + 1;
#else
#include <stdio.h>
extern int *third, *before_third;
extern char *second_letter;
int main(void) { printf("%d %d %s\n", *third, *before_third, second_letter); }
#endif
