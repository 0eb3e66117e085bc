/* The load of the realtime rows: websocket clients over loopback, in one thread around one epoll.
 *
 *     load fan  …   many subscribers, one publisher: closed loop (window) or open loop (rate)
 *     load pipe …   requests in flight on every connection, each with an id of its own; with `rate`, so many a second
 *                   over all connections, one after the other
 *     load open …   open connections and hold them: what does each cost?
 *     load hold …   open connections, say so, and hold them until the program is ended
 *
 * Options are name=value (see `option` in options.h); payloads come from files that benchmarks/generator.py writes. A payload
 * may hold places for a number that grows by one: eight '#' (written as digits) or 0xce "####" (a MessagePack uint32).
 *
 * Counted and verified: every delivery of every subscriber carries the number behind the one before (`mark` says
 * what stands before it), so loss, doubles and disorder show; every answer begins with `good` and has the id of an
 * open request. Latencies go from the moment a message was due to the moment it was read. Everything ends: connecting
 * after 30 s and one more for each 100 connections, standing still after 8 s, draining after 10 s. What was seen is printed as one line of JSON.
 */
#include "clients.h"

/* -- the run ------------------------------------------------------------------------------------------------------ */

static void dial(struct link *link, enum role role) {
    int where = role == PUBLISHER && publisher_port ? publisher_port : port;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)where)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    memset(link, 0, sizeof *link);
    link->role = role;
    link->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    fcntl(link->fd, F_SETFL, O_NONBLOCK);
    if (role == ASKER) {
        link->asked = must(calloc((size_t)depth, sizeof *link->asked));
        link->number = must(calloc((size_t)depth, sizeof *link->number));
    }
    char request[512];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
                        role == PUBLISHER ? publisher_path : path, where, *protocol ? "Sec-WebSocket-Protocol: " : "",
                        protocol, *protocol ? "\r\n" : "",
                        packed ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    watch(link, EPOLLIN, EPOLL_CTL_ADD);
    if (send(link->fd, request, (size_t)size, MSG_NOSIGNAL) != size) fail("the upgrade could not be sent");
}

static void open_all(int count, enum role role) {
    uint64_t limit = now() + (30 + (uint64_t)count / 100) * SECOND;
    for (int i = 0; i < count || opened < link_count;) {
        if (i < count && link_count - opened < 32) {
            dial(&links[link_count++], role);
            i++;
        } else {
            turn();
        }
        if (lost_links) fail("a connection was closed while it greeted: %s", first_bad);
        if (now() > limit) fail("%d of %d connections greeted in time", opened, link_count);
    }
}

static void wait_for(double length) {
    for (uint64_t until = now() + (uint64_t)(length * 1e9); now() < until;) turn();
}

static void print_latencies(void) {
    printf("\"latencies\":[");
    uint64_t passed = 0;
    int class = 0;
    for (int i = 0; i < 1000 && latencies; i++) {
        uint64_t want = (latencies - 1) * (uint64_t)i / 999;
        while (passed + latency_class[class] <= want) passed += latency_class[class++];
        printf("%s%.0f", i ? "," : "", class_value(class));
    }
    printf("],");
}

static uint64_t unanswered(void) {
    uint64_t count = 0;
    for (int i = 0; i < link_count; i++)
        for (int slot = 0; slot < depth; slot++) count += links[i].asked[slot] != 0;
    return count;
}

static void run(int fan) {
    struct link *publisher = &links[link_count - 1];
    uint64_t begun = now(), from = begun + (uint64_t)(warm * 1e9), until = from + (uint64_t)(seconds * 1e9), due = begun;
    uint64_t step = rate > 0 ? (uint64_t)(1e9 / rate) : 0, moved = begun, seen = 0, before = 0, started = from;
    double cpu = 0, own = 0;
    int asker = 0;
    for (int i = 0; !fan && i < link_count; i++) {
        links[i].next = 1;
        for (int slot = 0; !step && slot < depth; slot++) ask(&links[i], slot);
        flush(&links[i]);
    }
    for (;;) {
        uint64_t at = now();
        if (fan && publisher->state == READY) {
            if (step)
                for (; due <= at && published - complete < RING; due += step) publish(publisher, due);
            else
                while (published - complete < (uint64_t)window) publish(publisher, now());
            if (publisher->out_size) flush(publisher);
        }
        for (; !fan && step && due <= at; due += step, asker = (asker + 1) % link_count) {
            struct link *link = &links[asker];
            if (link->asked[0]) continue; /* it is late: its answer will show how much */
            ask(link, 0);
            link->asked[0] = due;
            flush(link);
        }
        turn();
        if (!measuring && at >= from) {
            measuring = 1;
            before = fan ? deliveries : answers;
            cpu = server_cpu();
            own = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
            started = now();
        }
        if (measuring && at >= until) break;
        if (deliveries + answers != seen) seen = deliveries + answers, moved = at;
        else if (at - moved > 8 * SECOND) fail("nothing came for 8 s; %" PRIu64 " bad: %s", bad, first_bad);
        if (lost_links) fail("a connection was closed: %s", first_bad);
    }
    double length = (double)(now() - started) / 1e9;
    uint64_t count = (fan ? deliveries : answers) - before;
    cpu = server_cpu() - cpu;
    own = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - own;
    measuring = 0;
    finishing = !fan;
    /* Nothing may be missing: everything that was published reaches everybody. */
    for (uint64_t limit = now() + 10 * SECOND; now() < limit;) {
        if (fan ? complete == published && (!good.size || publisher_answers == published) : !unanswered()) break;
        turn();
    }
    uint64_t missing = fan ? published * (uint64_t)connections - deliveries : unanswered();
    printf("{\"messages\":%" PRIu64 ",\"seconds\":%.6f,\"cpu\":%.6f,\"own_cpu\":%.6f,", count, length, cpu, own);
    print_latencies();
    printf("\"missing\":%" PRId64 ",\"disordered\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"published\":%" PRIu64
           ",\"unanswered\":%" PRIu64 ",\"smallest\":%u,\"largest\":%u,\"first_bad\":\"",
           (int64_t)missing, disordered, bad, published, good.size && fan ? published - publisher_answers : 0,
           largest ? smallest : 0, largest);
    for (const char *at = first_bad; *at; at++) putchar(*at >= ' ' && *at < 127 && *at != '"' && *at != '\\' ? *at : '.');
    printf("\"}\n");
}

int main(int count, char **arguments) {
    if (count < 3) fail("load fan|pipe|open|hold name=value …");
    for (int i = 2; i < count; i++) option(arguments[i]);
    prctl(PR_SET_TIMERSLACK, 1000);
    poller = epoll_create1(0);
    links = must(calloc((size_t)connections + 1, sizeof *links));
    if (!strcmp(arguments[1], "hold")) {
        open_all(connections, SUBSCRIBER);
        printf("open\n");
        fflush(stdout);
        while (!lost_links) turn();
        fail("a connection was closed while it was held: %s", first_bad);
    }
    if (!strcmp(arguments[1], "open")) {
        /* What the first ones load stays loaded: they are not counted. */
        int first = connections / 20;
        open_all(first, SUBSCRIBER);
        wait_for(1);
        long memory = resident();
        double cpu = server_cpu();
        uint64_t at = now();
        open_all(connections - first, SUBSCRIBER);
        double length = (double)(now() - at) / 1e9;
        cpu = server_cpu() - cpu;
        wait_for(settle);
        printf("{\"messages\":%d,\"seconds\":%.6f,\"cpu\":%.6f,\"own_cpu\":0,\"grown\":%ld,\"latencies\":[],\"missing\":%" PRIu64
               ",\"disordered\":0,\"bad\":%" PRIu64 "}\n",
               connections - first, length, cpu, resident() - memory, lost_links, bad);
        return 0;
    }
    int fan = !strcmp(arguments[1], "fan");
    if (!template_count) fail("nothing to send");
    open_all(connections, fan ? SUBSCRIBER : ASKER);
    if (fan) open_all(1, PUBLISHER);
    wait_for(settle);
    run(fan);
    return 0;
}
