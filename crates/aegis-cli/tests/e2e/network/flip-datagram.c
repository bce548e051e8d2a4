/*
 * Sends datagrams to an address that another thread changes all the time:
 * flip-datagram HOW TRIES ADDRESS:PORT..., where HOW is sendto, sendmsg,
 * sendmmsg or connect. Prints how many were sent, how many denied, how many
 * found no way, and what else came of them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The family, the port and the address are the first eight bytes. */
static union {
	struct sockaddr_in address;
	volatile uint64_t word;
} to;
static uint64_t words[8];
static unsigned count;
static volatile int stop;

static void *change(void *unused)
{
	for (unsigned turn = 0; !stop; turn++)
		to.word = words[turn % count];
	return unused;
}

static int send_one(const char *how, int fd)
{
	struct iovec data = { "flip", 4 };
	struct mmsghdr message = {
		.msg_hdr = { .msg_name = &to, .msg_namelen = sizeof to.address, .msg_iov = &data, .msg_iovlen = 1 },
	};

	if (!strcmp(how, "sendto"))
		return sendto(fd, "flip", 4, 0, (struct sockaddr *)&to.address, sizeof to.address);
	if (!strcmp(how, "sendmsg"))
		return sendmsg(fd, &message.msg_hdr, 0);
	if (!strcmp(how, "sendmmsg"))
		return sendmmsg(fd, &message, 1, 0);
	if (connect(fd, (struct sockaddr *)&to.address, sizeof to.address))
		return -1;
	return send(fd, "flip", 4, 0);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	long done = 0, denied = 0, no_way = 0, other = 0, tries = atol(argv[2]);

	for (int at = 3; at < argc; at++) {
		char *port = strchr(argv[at], ':');
		struct sockaddr_in one = { .sin_family = AF_INET, .sin_port = htons(atoi(port + 1)) };

		*port = 0;
		one.sin_addr.s_addr = inet_addr(argv[at]);
		memcpy(&words[count++], &one, 8);
	}
	to.word = words[0];
	pthread_create(&thread, NULL, change, NULL);
	for (long turn = 0; turn < tries; turn++) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		if (fd < 0) {
			perror("socket");
			return 2;
		}
		errno = 0;
		if (send_one(argv[1], fd) >= 0)
			done++;
		else if (errno == EACCES)
			denied++;
		else if (errno == ENETUNREACH)
			no_way++;
		else
			other++;
		close(fd);
	}
	stop = 1;
	printf("{\"done\":%ld,\"denied\":%ld,\"no_way\":%ld,\"other\":%ld}\n", done, denied, no_way, other);
	return 0;
}
