/* 32-bit calls of a 64-bit program, with something else in the high halves of the registers: the kernel looks at
 * the low halves only. Opens argv[1] for reading; a look at the whole register would find argv[2]. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *put(uintptr_t at, const char *text) {
    char *page = mmap((void *)at, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page == MAP_FAILED) _exit(3);
    return strcpy(page, text);
}

int main(int count, char **vector) {
    if (count < 3) return 2;
    put(0x40000000, vector[1]);
    put(0x5540000000, vector[2]);
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(5L), "b"(0x5540000000L), "c"(0L), "d"(0L) : "memory");
    /* 38 is ENOSYS: this kernel runs no 32-bit calls. */
    return (int)result == -38 ? 38 : (int)result < 0;
}
