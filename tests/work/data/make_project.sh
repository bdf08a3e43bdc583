# make -j: a project of several files, rebuilt partly; m4, diff, patch, cmp
# needs: make gcc diff patch
for i in 1 2 3 4 5 6; do echo "int f$i(void) { return $i; }" >f$i.c; done
echo '#include <stdio.h>
int f1(void), f6(void); int main(void) { printf("%d\n", f1() + f6()); return 0; }' >main.c
printf 'OBJ = $(sort $(patsubst %%.c,%%.o,$(wildcard *.c)))\nprog: $(OBJ)\n\t@gcc -o $@ $^\n%%.o: %%.c\n\t@gcc -c $< -o $@\n.PHONY: clean fail\nclean:\n\trm -f *.o prog\nfail:\n\texit 3\n$(info $(shell echo shelled))\n' >Makefile
#== run
$RUN make -j2; $RUN ./prog; $RUN make; touch f3.c; $RUN make -n; $RUN make -k fail; echo "status $?"; $RUN make clean; $RUN make nosuch; echo "status $?"
seq 100 >x; seq 5 105 >y; $RUN diff -u --label x --label y x y >p; $RUN patch -s x p; $RUN cmp x y; echo $?; $RUN diff -y --width=20 x y | tail -2; $RUN diff3 x y x; rm p
