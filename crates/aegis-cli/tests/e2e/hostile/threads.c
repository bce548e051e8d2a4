/* Threads and programs that change under the observer.
 *
 *   threads exec FILE MADE   one thread opens a file again and again while the first executes this program anew,
 *                            which then reads FILE and makes MADE
 *   threads leader FILE MADE the first thread ends; the second fails to execute something, then reads FILE and
 *                            makes MADE
 *   threads done FILE MADE   only the last step
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char **arguments;
static volatile int busy;

static void finish(void) {
    if (open(arguments[2], O_RDONLY) < 0) _exit(3);
    if (open(arguments[3], O_WRONLY | O_CREAT | O_EXCL, 0600) < 0) _exit(4);
    _exit(0);
}

static void *open_again(void *unused) {
    (void)unused;
    for (;;) {
        int fd = open("/etc/hostname", O_RDONLY);
        if (fd >= 0) close(fd);
        busy++;
    }
}

static void *second(void *unused) {
    (void)unused;
    char *none[] = {"none", NULL};
    execv("/nonexistent", none);
    finish();
    return NULL;
}

int main(int count, char **vector) {
    arguments = vector;
    if (count < 4) return 2;
    pthread_t thread;
    if (!strcmp(vector[1], "exec")) {
        for (int i = 0; i < 2; i++) pthread_create(&thread, NULL, open_again, NULL);
        while (busy < 20) usleep(100);
        char *again[] = {vector[0], "done", vector[2], vector[3], NULL};
        execv(vector[0], again);
        return 5;
    }
    if (!strcmp(vector[1], "leader")) {
        pthread_create(&thread, NULL, second, NULL);
        syscall(SYS_exit, 0);
    }
    finish();
}
