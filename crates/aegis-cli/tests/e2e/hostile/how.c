/* Opens a file by openat2(2) while another thread changes the flags, in memory, between O_PATH and O_RDONLY. Prints how
 * often it could be read, and how often not. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile unsigned long long how[3];

static void *flip(void *none) {
    for (;;) {
        how[0] = O_PATH;
        for (volatile int i = 0; i < 300; i++) {}
        how[0] = O_RDONLY;
        for (volatile int i = 0; i < 300; i++) {}
    }
    return none;
}

int main(int count, char **arguments) {
    pthread_t thread;
    char byte;
    int read_it = 0, not = 0;
    if (count != 2 || pthread_create(&thread, NULL, flip, NULL)) return 1;
    for (int i = 0; i < 10000; i++) {
        /* openat2 */
        int fd = syscall(437, AT_FDCWD, arguments[1], how, 24);
        if (fd >= 0 && read(fd, &byte, 1) == 1) read_it++; else not++;
        if (fd >= 0) close(fd);
    }
    printf("%d %d\n", read_it, not);
    return 0;
}
