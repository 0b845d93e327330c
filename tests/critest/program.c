/* What critest's images run beside busybox, one static program that does what its file's name says:
 * pause: waits; nnp: prints who it is; nginx, httpd: one page for every request on the port in $PORT. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void end(int number) { _exit(0); }

static int serve(const char *name) {
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(getenv("PORT")))};
	int one = 1, socket_ = socket(AF_INET6, SOCK_STREAM, 0);
	setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(socket_, (struct sockaddr *)&any, sizeof any) || listen(socket_, 64)) return perror("listen"), 1;
	FILE *pid = fopen("/var/run/nginx.pid", "w");
	if (pid) fprintf(pid, "%d\n", getpid()), fclose(pid);
	printf("%s -D FOREGROUND\n", name), fflush(stdout);
	const char *page = getenv("PAGE");
	for (;;) {
		char request[4096];
		int client = accept(socket_, 0, 0);
		if (client < 0 || read(client, request, sizeof request) <= 0) { close(client); continue; }
		dprintf(client, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", strlen(page), page);
		shutdown(client, SHUT_WR), close(client);
	}
}

int main(int argc, char **argv) {
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	signal(SIGTERM, end), signal(SIGINT, end), signal(SIGQUIT, end), signal(SIGWINCH, end), signal(SIGCHLD, SIG_IGN), signal(SIGPIPE, SIG_IGN);
	if (!strcmp(name, "nnp")) return printf("Effective uid: %d\n", geteuid()), 0;
	/* As nginx calls itself. */
	if (!strcmp(name, "nginx")) execl("/usr/sbin/nginx", "nginx: master process", (char *)0);
	if (!strncmp(name, "nginx", 5) || !strcmp(name, "httpd")) return serve(name);
	for (;;) pause();
}
