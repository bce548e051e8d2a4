/*
 * Times system calls: calls FOLDER COUNT, where FOLDER has the files `same`
 * and `new0` to `new(COUNT - 1)`. Prints a line for each kind, its name and the
 * microseconds of one. Ends with 1 where a call does not do what it should.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd >= 0 && close(fd) == 0;
}

static int getppid_(int n)
{
	(void)n;
	return syscall(SYS_getppid) >= 0;
}

static int stat_(int n)
{
	struct stat found;

	(void)n;
	return stat("same", &found) == 0;
}

static int open_(int n)
{
	(void)n;
	return opened("same", O_RDONLY);
}

static int new_(int n)
{
	char path[32];

	snprintf(path, sizeof path, "new%d", n);
	return opened(path, O_RDONLY);
}

static int missing_(int n)
{
	(void)n;
	return open("missing", O_RDONLY | O_CLOEXEC) < 0;
}

static int create_(int n)
{
	(void)n;
	return opened("made", O_WRONLY | O_CREAT | O_EXCL) && unlink("made") == 0;
}

static int rename_(int n)
{
	return n % 2 ? rename("other", "same") == 0 : rename("same", "other") == 0;
}

static const struct {
	const char *name;
	int (*call)(int n);
} kinds[] = {
	{ "getppid", getppid_ }, { "stat", stat_ },	{ "open", open_ },
	{ "new", new_ },	 { "missing", missing_ }, { "create", create_ },
	{ "rename", rename_ },
};

int main(int argc, char **argv)
{
	int count = argc == 3 ? atoi(argv[2]) : 0;

	if (count < 2 || count % 2 || chdir(argv[1]))
		return 2;
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		for (int n = 0; n < count; n++) {
			if (!kinds[k].call(n)) {
				perror(kinds[k].name);
				return 1;
			}
		}
		clock_gettime(CLOCK_MONOTONIC, &to);
		printf("%s %.4f\n", kinds[k].name,
		       ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / 1e3 / count);
	}
	return 0;
}
