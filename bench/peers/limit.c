/* The kernel's limit: one send() per delivery, or per BATCH deliveries joined; nothing else is done.
 *
 * cc -O2 -o limit limit.c; ./limit PORT
 * A minimal WebSocket + Engine.IO 4 + Socket.IO 5 server without pings: join, echo, go(K, SIZE, RATE[, BATCH]). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
static uint32_t rol(uint32_t v, int n) { return v << n | v >> (32 - n); }
static void sha1(const uint8_t *d, size_t n, uint8_t out[20]) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t m[256] = {0}; size_t t = ((n + 8) / 64 + 1) * 64; memcpy(m, d, n); m[n] = 0x80;
    for (int i = 0; i < 8; i++) m[t - 1 - i] = (uint8_t)((uint64_t)n * 8 >> (8 * i));
    for (size_t o = 0; o < t; o += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], e = h[4], dd = h[3];
        for (int i = 0; i < 16; i++) w[i] = (uint32_t)m[o + i * 4] << 24 | m[o + i * 4 + 1] << 16 | m[o + i * 4 + 2] << 8 | m[o + i * 4 + 3];
        for (int i = 16; i < 80; i++) w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (b & c) | (~b & dd), k = 0x5A827999; else if (i < 40) f = b ^ c ^ dd, k = 0x6ED9EBA1;
            else if (i < 60) f = (b & c) | (b & dd) | (c & dd), k = 0x8F1BBCDC; else f = b ^ c ^ dd, k = 0xCA62C1D6;
            uint32_t x = rol(a, 5) + f + e + k + w[i]; e = dd; dd = c; c = rol(b, 30); b = a; a = x;
        }
        h[0] += a; h[1] += b; h[2] += c; h[3] += dd; h[4] += e;
    }
    for (int i = 0; i < 20; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}
static void b64(const uint8_t *d, int n, char *o) {
    static const char T[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < n; i += 3) {
        uint32_t v = d[i] << 16 | (i + 1 < n ? d[i + 1] << 8 : 0) | (i + 2 < n ? d[i + 2] : 0);
        *o++ = T[v >> 18]; *o++ = T[v >> 12 & 63]; *o++ = i + 1 < n ? T[v >> 6 & 63] : '='; *o++ = i + 2 < n ? T[v & 63] : '=';
    }
    *o = 0;
}
typedef struct { int fd, up; size_t len; uint8_t *buf; } conn;
static int room[65536], n_room;
static void put(int fd, const uint8_t *p, size_t n) {
    while (n) {
        ssize_t r = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r > 0) { p += r; n -= (size_t)r; continue; }
        if (r < 0 && errno == EAGAIN) { struct pollfd q = {fd, POLLOUT, 0}; poll(&q, 1, 1000); continue; }
        if (r < 0 && errno == EINTR) continue;
        return;
    }
}
static size_t frame(uint8_t *o, const char *t, size_t n) {
    size_t h; o[0] = 0x81;
    if (n < 126) { o[1] = (uint8_t)n; h = 2; } else if (n < 65536) { o[1] = 126; o[2] = (uint8_t)(n >> 8); o[3] = (uint8_t)n; h = 4; }
    else { o[1] = 127; for (int i = 0; i < 8; i++) o[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i)); h = 10; }
    memcpy(o + h, t, n); return h + n;
}
static void text(int fd, const char *t, size_t n) { uint8_t b[70000]; size_t l = frame(b, t, n); put(fd, b, l); }
static int64_t us(clockid_t c) { struct timespec t; clock_gettime(c, &t); return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000; }
static long g_k, g_i, g_size, g_batch; static double g_rate; static int64_t g_t0; static char *g_pad; static uint8_t *g_out; static char *g_txt;
static void some(void) {
    size_t l = 0;
    for (long b = 0; b < g_batch && g_i < g_k; b++, g_i++) {
        size_t n = (size_t)sprintf(g_txt, "42[\"tick\",{\"ts\":%lld,\"i\":%ld,\"pad\":\"%s\"}]", (long long)us(CLOCK_REALTIME), g_i, g_pad);
        l += frame(g_out + l, g_txt, n);
    }
    for (int j = 0; j < n_room; j++) put(room[j], g_out, l);
}
static void on_text(conn *c, char *t, size_t n) {
    if (n >= 2 && !memcmp(t, "40", 2)) { char b[64]; int l = sprintf(b, "40{\"sid\":\"s%017d\"}", c->fd); text(c->fd, b, (size_t)l); }
    else if (n >= 9 && !memcmp(t, "42[\"echo\"", 9)) text(c->fd, t, n);
    else if (n >= 9 && !memcmp(t, "42[\"join\"", 9)) room[n_room++] = c->fd;
    else if (n >= 7 && !memcmp(t, "42[\"go\"", 7)) {
        g_batch = 1;
        if (sscanf(t, "42[\"go\",%ld,%ld,%lf,%ld]", &g_k, &g_size, &g_rate, &g_batch) < 3 || g_batch < 1) { g_k = 0; return; }
        g_i = 0; g_t0 = us(CLOCK_MONOTONIC); g_pad = malloc((size_t)g_size + 1); memset(g_pad, 'x', (size_t)g_size); g_pad[g_size] = 0;
        g_out = malloc((size_t)g_batch * ((size_t)g_size + 256)); g_txt = malloc((size_t)g_size + 256);
    }
}
int main(int argc, char **argv) {
    (void)argc; signal(SIGPIPE, SIG_IGN);
    struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
    int ls = socket(AF_INET, SOCK_STREAM, 0), on = 1; setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(ls, (void *)&a, sizeof a) || listen(ls, 4096)) { perror("bind"); return 1; }
    int ep = epoll_create1(0); struct epoll_event ev = {.events = EPOLLIN}; fcntl(ls, F_SETFL, O_NONBLOCK);
    epoll_ctl(ep, EPOLL_CTL_ADD, ls, &ev);
    static struct epoll_event evs[512]; static uint8_t rb[65536 + 8192];
    for (;;) {
        int to = -1;
        if (g_i < g_k) {
            if (g_rate <= 0) to = 0;
            else { int64_t w = (int64_t)((double)g_i * 1e6 / g_rate) - (us(CLOCK_MONOTONIC) - g_t0); to = w <= 0 ? 0 : (int)((w + 999) / 1000); }
        }
        int n = epoll_wait(ep, evs, 512, to);
        for (int i = 0; i < n; i++) {
            conn *c = evs[i].data.ptr;
            if (!c) {
                for (;;) {
                    int fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK); if (fd < 0) break;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    c = calloc(1, sizeof *c); c->fd = fd; ev.data.ptr = c; epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
                }
                continue;
            }
            if (c->len) memcpy(rb, c->buf, c->len);
            ssize_t r = recv(c->fd, rb + c->len, 65536, 0);
            if (r <= 0) {
                if (r < 0 && errno == EAGAIN) continue;
                for (int j = 0; j < n_room; j++) if (room[j] == c->fd) { room[j] = room[--n_room]; break; }
                close(c->fd); free(c->buf); free(c); continue;
            }
            size_t len = c->len + (size_t)r, off = 0;
            if (!c->up) {
                rb[len] = 0; char *e = strstr((char *)rb, "\r\n\r\n"), *k = strcasestr((char *)rb, "Sec-WebSocket-Key: ");
                if (e && k) {
                    char kk[100], acc[64], resp[512]; uint8_t dg[20]; sscanf(k + 19, "%60s", kk); strcat(kk, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
                    sha1((uint8_t *)kk, strlen(kk), dg); b64(dg, 20, acc);
                    int l = sprintf(resp, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acc);
                    put(c->fd, (uint8_t *)resp, (size_t)l);
                    l = sprintf(resp, "0{\"sid\":\"e%017d\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}", c->fd);
                    text(c->fd, resp, (size_t)l);
                    c->up = 1; off = (size_t)((uint8_t *)e - rb) + 4;
                }
            }
            while (c->up && len - off >= 6) {
                uint8_t *f = rb + off; size_t l = f[1] & 127, h = 2;
                if (l == 126) { if (len - off < 8) break; l = (size_t)f[2] << 8 | f[3]; h = 4; }
                if (len - off < h + 4 + l) break;
                uint8_t *m = f + h, *p = m + 4; for (size_t j = 0; j < l; j++) p[j] ^= m[j & 3];
                off += h + 4 + l;
                if ((f[0] & 15) == 1) { char sv = (char)p[l]; p[l] = 0; on_text(c, (char *)p, l); p[l] = (uint8_t)sv; }
            }
            c->len = len - off;
            if (c->len) { c->buf = realloc(c->buf, c->len); memcpy(c->buf, rb + off, c->len); } else { free(c->buf); c->buf = NULL; }
        }
        if (g_i < g_k) {
            if (g_rate <= 0) some();
            else while (g_i < g_k && (double)g_i * 1e6 / g_rate <= (double)(us(CLOCK_MONOTONIC) - g_t0)) some();
        }
    }
}
