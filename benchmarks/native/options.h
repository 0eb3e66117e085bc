/* What native/load.c is told, and what it measures with. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define SECOND 1000000000ull

struct text {
    char *bytes;
    size_t size;
};

/* -- options ------------------------------------------------------------------------------------------------------ */

static const char *path = "/", *publisher_path = "/", *protocol = "";
static int port, binary, connections = 1000, window = 1, depth = 1, ready = 0, publisher_ready = 0, stream, digits;
static int in_turn, publisher_port, packed;
static double rate, seconds = 2, warm = 0.5, settle;
static pid_t server;
static struct text greeting[8], publisher_greeting[8], templates[4096], hello[16384];
static int greetings, publisher_greetings, template_count, hellos;
static struct text ready_mark, mark, good, aside;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static void *must(void *memory) {
    if (!memory) fail("no memory");
    return memory;
}

static struct text whole_file(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) fail("%s: %s", name, strerror(errno));
    struct text found = {must(malloc(1 << 22)), 0};
    found.size = fread(found.bytes, 1, 1 << 22, file);
    fclose(file);
    return found;
}

/* A file of payloads: four bytes of size (little endian) before each. */
static int payloads(const char *name, struct text *into, int most) {
    struct text all = whole_file(name);
    int count = 0;
    for (size_t at = 0; at + 4 <= all.size && count < most; count++) {
        uint32_t size;
        memcpy(&size, all.bytes + at, 4);
        into[count] = (struct text){all.bytes + at + 4, size};
        at += 4 + size;
    }
    return count;
}

static void option(const char *given) {
    const char *value = strchr(given, '=');
    if (!value) fail("%s is no name=value", given);
    size_t size = (size_t)(value++ - given);
#define IS(name) (size == sizeof name - 1 && !memcmp(given, name, size))
    if (IS("port")) port = atoi(value);
    else if (IS("path")) path = value;
    else if (IS("packed")) packed = atoi(value);
    else if (IS("publisher_port")) publisher_port = atoi(value);
    else if (IS("publisher_path")) publisher_path = value;
    else if (IS("protocol")) protocol = value;
    else if (IS("binary")) binary = atoi(value);
    else if (IS("connections")) connections = atoi(value);
    else if (IS("window")) window = atoi(value);
    else if (IS("depth")) depth = atoi(value);
    else if (IS("ready")) ready = atoi(value);
    else if (IS("publisher_ready")) publisher_ready = atoi(value);
    else if (IS("stream")) stream = atoi(value);
    else if (IS("digits")) digits = atoi(value);
    else if (IS("rate")) rate = atof(value);
    else if (IS("seconds")) seconds = atof(value);
    else if (IS("warm")) warm = atof(value);
    else if (IS("settle")) settle = atof(value);
    else if (IS("server")) server = atoi(value);
    else if (IS("greeting")) greetings = payloads(value, greeting, 8);
    else if (IS("in_turn")) in_turn = atoi(value);
    else if (IS("hello")) hellos = payloads(value, hello, 16384);
    else if (IS("publisher_greeting")) publisher_greetings = payloads(value, publisher_greeting, 8);
    else if (IS("send")) template_count = payloads(value, templates, 4096);
    else if (IS("ready_mark")) ready_mark = whole_file(value);
    else if (IS("mark")) mark = whole_file(value);
    else if (IS("good")) good = whole_file(value);
    else if (IS("aside")) aside = whole_file(value);
    else fail("no option %s", given);
#undef IS
}

/* -- what is measured --------------------------------------------------------------------------------------------- */

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * SECOND + (uint64_t)at.tv_nsec;
}

static double cpu_of(clockid_t clock) {
    struct timespec at;
    return clock_gettime(clock, &at) ? 0 : (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* CPU seconds of the server: of all its threads, those that ended too. */
static double server_cpu(void) {
    clockid_t clock;
    return server && !clock_getcpuclockid(server, &clock) ? cpu_of(clock) : 0;
}

static long resident(void) {
    char name[64];
    long pages = 0, all = 0;
    snprintf(name, sizeof name, "/proc/%d/statm", (int)server);
    FILE *file = fopen(name, "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &all, &pages) != 2) pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Latencies in classes of microseconds: exact below 128, then 64 classes to each power of two. */
#define CLASSES (64 * 40)
static uint64_t latency_class[CLASSES], latencies;

static void latency(uint64_t nanoseconds) {
    uint64_t us = nanoseconds / 1000;
    int shift = us < 128 ? 0 : 63 - __builtin_clzll(us) - 6;
    int class = shift * 64 + (int)(us >> shift);
    latency_class[class < CLASSES ? class : CLASSES - 1]++;
    latencies++;
}

static double class_value(int class) {
    int shift = class < 128 ? 0 : class / 64 - 1;
    return (double)((uint64_t)(class - shift * 64) << shift);
}
