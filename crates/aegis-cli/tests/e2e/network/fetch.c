/*
 * Fetches http://HOST:8080/: fetch HOST. Prints the addresses of the host in
 * the order in which they are tried, then what came.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct addrinfo like = { .ai_socktype = SOCK_STREAM }, *all, *one;
	char text[4096];
	ssize_t got = 0;
	int failed, fd = -1;

	(void)argc;
	failed = getaddrinfo(argv[1], "8080", &like, &all);
	if (failed) {
		printf("no address: %s\n", gai_strerror(failed));
		return 1;
	}
	for (one = all; one; one = one->ai_next) {
		if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
			printf("address %s\n", text);
	}
	for (one = all; one; one = one->ai_next) {
		fd = socket(one->ai_family, one->ai_socktype, one->ai_protocol);
		if (connect(fd, one->ai_addr, one->ai_addrlen) == 0)
			break;
		perror("connect");
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		return 1;
	snprintf(text, sizeof text, "GET / HTTP/1.0\r\nHost: %s:8080\r\n\r\n", argv[1]);
	if (write(fd, text, strlen(text)) < 0)
		return 1;
	while ((got = read(fd, text, sizeof text)) > 0)
		fwrite(text, 1, got, stdout);
	return got != 0;
}
