/* The clients of native/load.c: their frames, both ways, and what is verified in what they read. */
#include "options.h"
#ifdef DEFLATE
#include <zlib.h>
#endif

#define RING (1u << 16) /* messages in flight at most */
#define CHUNK (1u << 18)
#define LARGEST (1u << 21) /* of a frame */
#define TAIL 64
#define FIRST 10000000ull /* number: eight digits, and a multiple of every depth that is used */

enum state { UPGRADING, GREETING, READY, GONE };
enum role { SUBSCRIBER, PUBLISHER, ASKER };

struct link {
    int fd;
    enum state state;
    enum role role;
    uint32_t greeted;    /* answers to the greeting so far */
    char *rest;          /* the beginning of what was cut by the end of a read */
    uint32_t rest_size;
    char *out;           /* what waits to be written */
    uint32_t out_size, out_room;
    uint64_t next;       /* the number that the next delivery must carry */
    char tail[TAIL];     /* of a stream: the last bytes, where a mark may begin */
    uint32_t tail_size;
    uint64_t *asked;     /* when each request in flight was sent; 0 where the slot is free */
    uint64_t *number;    /* and its id */
    uint32_t turn;       /* how many payloads it has sent */
    void *inflater;      /* what is kept from compressed message to message */
    int alone;           /* whether each of them stands for itself */
};

static struct link *links;
static int link_count, opened, upgraded, poller, measuring, finishing;
static uint64_t deliveries, answers, bad, disordered, lost_links, base, have_base;
static uint64_t published, complete, publisher_answers, told;
static uint32_t heard[RING]; /* how many subscribers have each message in flight */
static uint64_t due_at[RING];
static uint32_t smallest = UINT32_MAX, largest; /* whole frames that were delivered */
static char first_bad[200];

static void note_bad(const char *bytes, size_t size) {
    if (!bad++) snprintf(first_bad, sizeof first_bad, "%.*s", (int)(size < 150 ? size : 150), bytes);
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

static void watch(struct link *link, uint32_t events, int change) {
    struct epoll_event event = {.events = events, .data.u32 = (uint32_t)(link - links)};
    epoll_ctl(poller, change, link->fd, &event);
}

static void lose(struct link *link) {
    if (link->state == GONE) return;
    if (!finishing) lost_links++;
    link->state = GONE;
    close(link->fd);
}

static void flush(struct link *link) {
    uint32_t done = 0;
    while (done < link->out_size) {
        ssize_t sent = send(link->fd, link->out + done, link->out_size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            watch(link, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            break;
        }
        if (sent < 0) {
            lose(link);
            return;
        }
        done += (uint32_t)sent;
    }
    memmove(link->out, link->out + done, link->out_size - done);
    link->out_size -= done;
}

static void put_number(char *at, size_t size, uint64_t number) {
    for (size_t i = 0; i + 5 <= size; i++) {
        if ((uint8_t)at[i] == 0xce && !memcmp(at + i + 1, "####", 4)) {
            for (int k = 0; k < 4; k++) at[i + 1 + (size_t)k] = (char)(number >> (24 - 8 * k));
            i += 4;
        } else if (at[i] == '#' && i + 8 <= size && !memcmp(at + i, "########", 8)) {
            uint64_t left = number;
            for (size_t k = 8; k-- > 0; left /= 10) at[i + k] = (char)('0' + left % 10);
            i += 7;
        }
    }
}

/* Queue one masked frame; `number` takes its places. */
static void queue(struct link *link, uint8_t opcode, const char *bytes, size_t size, uint64_t number) {
    static const uint8_t key[4] = {0x3b, 0x91, 0xc6, 0x5e};
    if (link->out_size + size + 16 > link->out_room) {
        link->out_room = link->out_size + (uint32_t)size * 2 + 1024;
        link->out = must(realloc(link->out, link->out_room));
    }
    char *at = link->out + link->out_size;
    *at++ = (char)(0x80 | opcode);
    if (size < 126) {
        *at++ = (char)(0x80 | size);
    } else {
        *at++ = (char)(0x80 | 126);
        *at++ = (char)(size >> 8);
        *at++ = (char)size;
    }
    memcpy(at, key, 4);
    memcpy(at + 4, bytes, size);
    at += 4;
    if (number) put_number(at, size, number);
    for (size_t i = 0; i < size; i++) at[i] = (char)((uint8_t)at[i] ^ key[i & 3]);
    link->out_size = (uint32_t)(at + size - link->out);
}

static void publish(struct link *link, uint64_t due) {
    const struct text *what = &templates[published % (uint64_t)template_count];
    due_at[published % RING] = due;
    heard[published % RING] = 0;
    queue(link, binary ? 2 : 1, what->bytes, what->size, FIRST + published++);
}

static void ask(struct link *link, int slot) {
    /* Ids of a link: 1 said hello; then each is used once, and its remainder is its slot. */
    uint64_t number = FIRST + link->next++ * (uint64_t)depth + (uint64_t)slot;
    link->asked[slot] = now();
    link->number[slot] = number;
    uint64_t which = in_turn ? link->turn++ : number * 7919;
    const struct text *what = &templates[which % (uint64_t)template_count];
    queue(link, binary ? 2 : 1, what->bytes, what->size, number);
}

/* -- reading ------------------------------------------------------------------------------------------------------ */

/* Read the number at `at`; return how many bytes it has, 0 where it is cut off, -1 where it is none. */
static int read_number(const char *at, size_t size, uint64_t *number) {
    if (!size) return 0;
    uint8_t first = (uint8_t)*at;
    if (first >= '0' && first <= '9' && digits) {
        size_t i = 0;
        for (*number = 0; i < size && at[i] >= '0' && at[i] <= '9'; i++) *number = *number * 10 + (uint64_t)(at[i] - '0');
        return i == size ? 0 : (int)i;
    }
    if (first < 0x80) {
        *number = first;
        return 1;
    }
    if (first < 0xcc || first > 0xcf) return -1;
    size_t bytes = (size_t)1 << (first - 0xcc);
    if (size < 1 + bytes) return 0;
    *number = 0;
    for (size_t i = 1; i <= bytes; i++) *number = *number << 8 | (uint8_t)at[i];
    return (int)(1 + bytes);
}

static void delivered(struct link *link, uint64_t number, uint64_t at) {
    if (!have_base) {
        have_base = 1;
        base = number;
        for (int i = 0; i < link_count; i++) links[i].next = base;
    }
    if (number != link->next) disordered++;
    link->next = number + 1;
    deliveries++;
    uint64_t which = number - base;
    if (which >= published || which < complete) {
        disordered++;
        return;
    }
    if (measuring) latency(at > due_at[which % RING] ? at - due_at[which % RING] : 0);
    heard[which % RING]++;
    while (complete < published && heard[complete % RING] == (uint32_t)connections) complete++;
}

/* Deliver every marked number; return where the search would have to begin again when more has come. */
static size_t deliver_all(struct link *link, const char *bytes, size_t size, uint64_t at) {
    size_t from = 0;
    for (;;) {
        const char *found = memmem(bytes + from, size - from, mark.bytes, mark.size);
        if (!found) break;
        size_t here = (size_t)(found - bytes);
        uint64_t number;
        int length = read_number(found + mark.size, size - here - mark.size, &number);
        if (!length) return here;
        if (length > 0) delivered(link, number, at);
        from = here + mark.size + (length > 0 ? (size_t)length : 0);
    }
    return size - from < mark.size ? from : size - mark.size + 1;
}

static void in_stream(struct link *link, const char *bytes, size_t size, uint64_t at) {
    static char joined[TAIL + LARGEST];
    memcpy(joined, link->tail, link->tail_size);
    memcpy(joined + link->tail_size, bytes, size);
    size += link->tail_size;
    size_t from = deliver_all(link, joined, size, at);
    link->tail_size = (uint32_t)(size - from);
    if (link->tail_size > TAIL) fail("a number longer than %d bytes", TAIL);
    memcpy(link->tail, joined + from, link->tail_size);
}

static void answered(struct link *link, const char *bytes, size_t size, uint64_t at) {
    uint64_t number = 0;
    if (aside.size && size >= aside.size && !memcmp(bytes, aside.bytes, aside.size)) {
        told++;
        return;
    }
    const char *found = memmem(bytes, size < 64 ? size : 64, mark.bytes, mark.size);
    if (size < good.size || memcmp(bytes, good.bytes, good.size) || !found ||
        read_number(found + mark.size, size - (size_t)(found - bytes) - mark.size, &number) <= 0) {
        note_bad(bytes, size);
        return;
    }
    int slot = (int)((number - FIRST) % (uint64_t)depth);
    if (link->number[slot] != number || !link->asked[slot]) {
        disordered++;
        return;
    }
    answers++;
    if (measuring) latency(at - link->asked[slot]);
    link->asked[slot] = 0;
    if (!finishing && rate <= 0) ask(link, slot);
}

static void message(struct link *link, const char *bytes, size_t size, uint32_t frame, uint64_t at) {
    if (size == 1 && *bytes == '2') { /* a heartbeat of socket.io */
        queue(link, 1, "3", 1, 0);
        return;
    }
    if (link->state == GREETING) {
        for (const char *found; ready_mark.size && (found = memmem(bytes, size, ready_mark.bytes, ready_mark.size));) {
            link->greeted++;
            size -= (size_t)(found + ready_mark.size - bytes);
            bytes = found + ready_mark.size;
        }
        if (link->greeted >= (uint32_t)(link->role == PUBLISHER ? publisher_ready : ready)) {
            link->state = READY;
            opened++;
        }
    } else if (link->role == SUBSCRIBER) {
        if (stream) {
            in_stream(link, bytes, size, at);
            return;
        }
        uint64_t before = deliveries;
        deliver_all(link, bytes, size, at);
        if (deliveries != before + 1) note_bad(bytes, size);
        if (frame < smallest) smallest = frame;
        if (frame > largest) largest = frame;
    } else if (link->role == ASKER) {
        answered(link, bytes, size, at);
    } else if (good.size) {
        if (size >= good.size && !memcmp(bytes, good.bytes, good.size)) publisher_answers++;
        else note_bad(bytes, size);
    }
}

/* Return what a compressed message holds. */
static const char *inflated(struct link *link, const char *bytes, uint64_t *size) {
#ifdef DEFLATE
    static char whole[LARGEST];
    z_stream *stream = link->inflater;
    if (!stream) {
        stream = link->inflater = must(calloc(1, sizeof *stream));
        if (inflateInit2(stream, -15) != Z_OK) fail("no memory");
    } else if (link->alone) {
        inflateReset(stream);
    }
    stream->next_out = (Bytef *)whole;
    stream->avail_out = LARGEST;
    const struct text parts[2] = {{(char *)bytes, *size}, {"\0\0\xff\xff", 4}};
    for (int i = 0; i < 2; i++) {
        stream->next_in = (Bytef *)parts[i].bytes;
        stream->avail_in = (uInt)parts[i].size;
        int done = inflate(stream, Z_SYNC_FLUSH);
        if ((done != Z_OK && done != Z_BUF_ERROR) || stream->avail_in) fail("a message that cannot be inflated");
    }
    *size = LARGEST - stream->avail_out;
    return whole;
#else
    (void)link;
    (void)bytes;
    (void)size;
    fail("a compressed message");
    return NULL;
#endif
}

/* Take in whole frames; return how many bytes were used. */
static size_t frames(struct link *link, const char *bytes, size_t size, uint64_t at) {
    size_t used = 0;
    while (size - used >= 2) {
        const uint8_t *head = (const uint8_t *)bytes + used;
        uint64_t length = head[1] & 127;
        size_t before = length < 126 ? 2 : length == 126 ? 4 : 10;
        if (size - used < before) break;
        if (before != 2) {
            length = 0;
            for (size_t i = 2; i < before; i++) length = length << 8 | head[i];
        }
        if (length > LARGEST) fail("a frame of %" PRIu64 " bytes", length);
        if (size - used < before + length) break;
        const char *payload = bytes + used + before;
        uint8_t opcode = head[0] & 15;
        uint32_t whole = (uint32_t)(before + length);
        used += whole;
        if (head[0] & 0x40) payload = inflated(link, payload, &length);
        if (opcode == 8) {
            note_bad(payload, (size_t)length);
            lose(link);
            return size;
        }
        if (opcode == 9) queue(link, 10, payload, (size_t)length, 0);
        else if (opcode < 3) message(link, payload, (size_t)length, whole, at);
    }
    return used;
}

static char buffer[LARGEST + CHUNK];

static void on_input(struct link *link, uint64_t at) {
    memcpy(buffer, link->rest, link->rest_size);
    ssize_t got = recv(link->fd, buffer + link->rest_size, CHUNK, 0);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) lose(link);
        return;
    }
    size_t size = link->rest_size + (size_t)got, used = 0;
    if (link->state == UPGRADING) {
        char *end = memmem(buffer, size, "\r\n\r\n", 4);
        if (end) {
            if (memcmp(buffer, "HTTP/1.1 101", 12)) fail("the upgrade was refused: %.200s", buffer);
            used = (size_t)(end + 4 - buffer);
            if (packed && !memmem(buffer, used, "permessage-deflate", 18)) fail("compression was refused: %.200s", buffer);
            link->alone = memmem(buffer, used, "server_no_context_takeover", 26) != NULL;
            link->state = GREETING;
            upgraded++;
            const struct text *what = link->role == PUBLISHER ? publisher_greeting : greeting;
            int count = link->role == PUBLISHER ? publisher_greetings : greetings;
            if (hellos && link->role != PUBLISHER) {
                const struct text *own = &hello[(link - links) % hellos];
                queue(link, binary ? 2 : 1, own->bytes, own->size, 0);
            }
            for (int i = 0; i < count; i++) queue(link, binary ? 2 : 1, what[i].bytes, what[i].size, 0);
            if (!(link->role == PUBLISHER ? publisher_ready : ready)) {
                link->state = READY;
                opened++;
            }
        }
    }
    if (link->state != UPGRADING) used += frames(link, buffer + used, size - used, at);
    if (link->state == GONE) return;
    if (size - used > link->rest_size) link->rest = must(realloc(link->rest, size - used));
    link->rest_size = (uint32_t)(size - used);
    memcpy(link->rest, buffer + used, link->rest_size);
    if (link->out_size) flush(link);
}

/* Take in what has come; with nothing there, sleep for 50 µs: a server must not pay for waking us with every write. */
static void turn(void) {
    struct epoll_event events[512];
    int count = epoll_wait(poller, events, 512, 0);
    for (int i = 0; i < count; i++) {
        struct link *link = &links[events[i].data.u32];
        if (link->state != GONE && events[i].events & EPOLLOUT) {
            watch(link, EPOLLIN, EPOLL_CTL_MOD);
            flush(link);
        }
        if (link->state != GONE && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) on_input(link, now());
    }
    if (count <= 0) nanosleep(&(struct timespec){0, 50000}, NULL);
}
