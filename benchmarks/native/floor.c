/* The floor: what it costs the kernel to take the bytes, and nothing more.
 *
 *     floor PORT
 *
 * Whatever a publisher (path /pub) sends is framed once and written with one send to every subscriber (any other path);
 * what was read at once is written at once. No rights, no log, no bounds, no proper handshake: for benchmarks/native only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 16384
#define CHUNK 65536

enum kind { NEW, SUBSCRIBER, PUBLISHER };

static enum kind kinds[MOST];
static int subscribers[MOST], subscriber_count, poller;
static char rest[CHUNK * 2], out[CHUNK * 4];
static size_t rest_size; /* of the one publisher */

static void leave(int fd) {
    for (int i = 0; i < subscriber_count; i++)
        if (subscribers[i] == fd) subscribers[i--] = subscribers[--subscriber_count];
    close(fd);
}

/* Unmask whole frames into `out` with a head of ours; return how many bytes that are. */
static size_t reframe(void) {
    size_t used = 0, size = 0;
    while (rest_size - used >= 6) {
        uint8_t *head = (uint8_t *)rest + used;
        size_t length = head[1] & 127, before = 2;
        if (length == 126) {
            length = (size_t)head[2] << 8 | head[3];
            before = 4;
        }
        if (rest_size - used < before + 4 + length) break;
        memcpy(out + size, head, before);
        out[size + 1] = (char)(out[size + 1] & 127);
        size += before;
        for (size_t i = 0; i < length; i++) out[size++] = (char)(head[before + 4 + i] ^ head[before + (i & 3)]);
        used += before + 4 + length;
    }
    memmove(rest, rest + used, rest_size -= used);
    return size;
}

static void upgrade(int fd, const char *request) {
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    kinds[fd] = memcmp(request, "GET /pub ", 9) ? SUBSCRIBER : PUBLISHER;
    if (kinds[fd] == SUBSCRIBER) subscribers[subscriber_count++] = fd;
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) leave(fd);
}

static void on_input(int fd) {
    static char input[CHUNK];
    if (kinds[fd] == PUBLISHER) {
        ssize_t got = recv(fd, rest + rest_size, CHUNK, 0);
        if (got <= 0) {
            leave(fd);
            return;
        }
        rest_size += (size_t)got;
        size_t size = reframe();
        for (int i = 0; size && i < subscriber_count; i++) {
            size_t done = 0; /* a subscriber that is slow is waited for: the floor has no queue */
            while (done < size) {
                ssize_t sent = send(subscribers[i], out + done, size - done, MSG_NOSIGNAL);
                if (sent <= 0) break;
                done += (size_t)sent;
            }
        }
        return;
    }
    ssize_t got = recv(fd, input, CHUNK - 1, 0);
    if (got <= 0) leave(fd);
    else if (kinds[fd] == NEW) upgrade(fd, input);
}

int main(int count, char **arguments) {
    int door = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[count - 1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(door, (struct sockaddr *)&address, sizeof address) || listen(door, 4096)) {
        perror("floor");
        return 1;
    }
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, door, &(struct epoll_event){.events = EPOLLIN, .data.fd = door});
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != door) {
                on_input(fd);
                continue;
            }
            fd = accept(door, NULL, NULL);
            if (fd < 0 || fd >= MOST) {
                close(fd);
                continue;
            }
            kinds[fd] = NEW;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
        }
    }
}
