/* connects PORT COUNT: opens a connection to this machine's PORT and closes it, COUNT times; prints how many
   microseconds each took. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int count = atoi(argv[2]);
  double start = now_us();
  for (int left = count; left > 0; left--) {
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&to, sizeof to) != 0) {
      perror("connects");
      return 1;
    }
    close(client);
  }
  printf("%.3f\n", (now_us() - start) / count);
  return 0;
}
