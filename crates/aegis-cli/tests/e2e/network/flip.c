/*
 * Connects to an address whose port another thread changes all the time between
 * one that is permitted and one that is not: flip PERMITTED FORBIDDEN TRIES.
 * Listens on both. Prints how many connections came about, how many were
 * denied, what else came of them, and how often the forbidden port was reached.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct sockaddr_in to;
static in_port_t ports[2];
static volatile int stop;
static long taken[2];

static void *change(void *unused)
{
	for (unsigned turn = 0; !stop; turn++)
		*(volatile in_port_t *)&to.sin_port = ports[turn & 1];
	return unused;
}

static void *take(void *which)
{
	struct sockaddr_in at = to;
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_port = ports[(long)which];
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 512)) {
		perror("listen");
		exit(2);
	}
	__atomic_add_fetch(&stop, -1, __ATOMIC_SEQ_CST);
	for (;;) {
		int one = accept(listener, NULL, NULL);

		if (one >= 0) {
			taken[(long)which]++;
			close(one);
		}
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	long done = 0, denied = 0, other = 0, escapes = 0, tries = atol(argv[3]);

	(void)argc;
	to.sin_family = AF_INET;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (long which = 0; which < 2; which++)
		ports[which] = htons(atoi(argv[1 + which]));
	stop = 2;
	for (long which = 0; which < 2; which++)
		pthread_create(&thread, NULL, take, (void *)which);
	while (__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
		sched_yield();
	pthread_create(&thread, NULL, change, NULL);
	for (long turn = 0; turn < tries; turn++) {
		struct sockaddr_in peer;
		socklen_t length = sizeof peer;
		struct linger now = { 1, 0 };
		int one = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(one, (struct sockaddr *)&to, sizeof to) == 0) {
			done++;
			if (getpeername(one, (struct sockaddr *)&peer, &length) == 0 && peer.sin_port != ports[0])
				escapes++;
		} else if (errno == EACCES) {
			denied++;
		} else {
			other++;
		}
		/* No port is left to wait for what may still come. */
		setsockopt(one, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		close(one);
	}
	stop = 1;
	printf("{\"done\":%ld,\"denied\":%ld,\"other\":%ld,\"escapes\":%ld}\n", done, denied, other,
	       escapes + taken[1]);
	return 0;
}
