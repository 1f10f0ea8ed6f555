/* From the server: packets, frames, what they count for. */

static void poll_opened(client *c, const uint8_t *p, size_t n);
static size_t poll_bytes(client *c, uint8_t *p, size_t n);

static inline int find_num(const uint8_t *p, size_t n, const char *needle, size_t nl, int64_t *out) {
    const uint8_t *q, *e = p + n;
    if (nl == 1 && needle[0] == '#') {        /* first number after the prefix */
        q = p + prefix_len;
        while (q < e && (*q == ',' || *q == ' ')) q++;
    } else {
        q = memmem(p, n, needle, nl);
        if (!q) return 0;
        q += nl;
        while (q < e && *q == ' ') q++;
    }
    int neg = 0; if (q < e && *q == '-') { neg = 1; q++; }
    if (q >= e || *q < '0' || *q > '9') return 0;
    int64_t v = 0;
    while (q < e && *q >= '0' && *q <= '9') v = v * 10 + (*q++ - '0');
    *out = neg ? -v : v; return 1;
}

/* one text message (or its first fragment) */
static void on_text(client *c, const uint8_t *p, size_t n, int64_t now_r, uint64_t now_m) {
    if (n == 0) return;
    if (c->state == S_READY && p[0] == '4') {
        if (counting && n >= prefix_len && !memcmp(p, prefix, prefix_len)) {
            if (c->id >= o_clients) return;                     /* the control client */
            if (!deliveries) first_ns = now_m;
            last_ns = now_m; deliveries++; c->count++;
            int64_t v;
            if (ts_needle_len) { if (find_num(p, n, ts_needle, ts_needle_len, &v)) hadd(&h_lat, now_r - v); else nofield++; }
            if (seq_needle_len) {
                if (!find_num(p, n, seq_needle, seq_needle_len, &v)) nofield++;
                else {
                    if (c->next_seq >= 0 && v != c->next_seq) {
                        if (v > c->next_seq) lost += (uint64_t)(v - c->next_seq); else disorder++;
                    }
                    if (v >= c->next_seq) c->next_seq = v + 1;
                }
            }
            return;
        }
        if (mode == M_ECHO && n > echo_prefix_len && !memcmp(p, echo_prefix, echo_prefix_len)) {
            if (c->e_recv >= c->e_sent) { disorder++; return; }
            const uint8_t *q = p + echo_prefix_len; uint64_t v = 0;
            if (*q >= '0' && *q <= '9') {
                while (q < p + n && *q >= '0' && *q <= '9') v = v * 10 + (uint64_t)(*q++ - '0');
                if (v != c->e_recv) disorder++;
            }
            if (echoing) {
                uint64_t m = mono();
                hadd(&h_lat, (int64_t)((m - c->sent[c->e_recv % (uint64_t)o_window]) / 1000));
                if (!deliveries) first_ns = m;
                last_ns = m; deliveries++;
            }
            c->e_recv++;
            if (echoing) send_echo(c);
            return;
        }
        if (!counting && n >= prefix_len && !memcmp(p, prefix, prefix_len)) { early++; return; }
        other_events++;
        return;
    }
    switch (p[0]) {
    case '2': { uint8_t t[128]; size_t m = n > sizeof t ? sizeof t : n; memcpy(t, p, m); t[0] = '3'; send_frame(c, 1, t, m); return; }
    case '0':
        if (c->poll) poll_opened(c, p, n);
        if (c->state == S_OPEN) { send_frame(c, 1, sio_connect, sio_connect_len); if (c->state != S_DEAD) c->state = S_SIO; }
        return;
    case '1': client_dead(c, "EIO close"); return;
    case '4':
        if (n > 1 && p[1] == '4' && c->state == S_SIO) { fprintf(stderr, "sioload: connect error: %.*s\n", (int)(n > 200 ? 200 : n), p); client_dead(c, "connect error"); return; }
        if (n > 1 && p[1] == '1') { client_dead(c, "SIO disconnect"); return; }
        if (c->state == S_SIO && n >= sio_ok_len && !memcmp(p, sio_ok, sio_ok_len)) {
            int control = c->id >= o_clients;
            if (!control) do_join(c);
            if (c->state == S_DEAD) return;
            if (o_join_ack && !control) c->state = S_ACK; else now_ready(c);
            return;
        }
        if (c->state == S_ACK && n >= join_ack_len && !memcmp(p, o_join_ack, join_ack_len)) { now_ready(c); return; }
        other_events++;
        return;
    default: return;
    }
}

/* consumes whole frames from p[0..n), returns how much was consumed; *need: size that the pending frame has */
static size_t on_bytes(client *c, uint8_t *p, size_t n, size_t *need) {
    size_t off = 0; *need = 0;
    if (c->poll) return poll_bytes(c, p, n);
    if (c->state == S_HTTP) {
        uint8_t *e = memmem(p, n, "\r\n\r\n", 4);
        if (!e) { if (n > 16384) client_dead(c, "HTTP head too long"); return 0; }
        if (n < 12 || memcmp(p, "HTTP/1.1 101", 12)) {
            if (n_dead < 3) fprintf(stderr, "sioload: handshake refused: %.*s\n", (int)(n > 300 ? 300 : n), p);
            client_dead(c, "no 101"); return 0;
        }
        if (!memmem(p, (size_t)(e - p), WS_ACCEPT, strlen(WS_ACCEPT))) { client_dead(c, "bad Sec-WebSocket-Accept"); return 0; }
        c->state = S_OPEN; off = (size_t)(e - p) + 4;
    }
    int64_t now_r = real_us(); uint64_t now_m = mono();
    while (off + 2 <= n) {
        uint8_t *f = p + off; size_t h = 2; uint64_t l = f[1] & 0x7f;
        if (f[1] & 0x80) { client_dead(c, "masked server frame"); return off; }
        if (f[0] & 0x70) { client_dead(c, "reserved bits"); return off; }
        if (l == 126) { if (n - off < 4) break; l = (uint64_t)f[2] << 8 | f[3]; h = 4; }
        else if (l == 127) { if (n - off < 10) break; l = 0; for (int i = 2; i < 10; i++) l = l << 8 | f[i]; h = 10; if (l > (1ull << 30)) { client_dead(c, "frame too long"); return off; } }
        if (n - off < h + l) { *need = h + l; break; }
        off += h + l;
        int op = f[0] & 15;
        switch (op) {
        case 1: if (!(f[0] & 0x80)) c->infrag = 1; on_text(c, f + h, l, now_r, now_m); break;
        case 0: if (f[0] & 0x80) c->infrag = 0; break;
        case 2: break;
        case 8: client_dead(c, "WS close"); break;
        case 9: send_frame(c, 10, f + h, l > 125 ? 125 : l); break;
        case 10: break;
        default: client_dead(c, "bad opcode");
        }
        if (c->state == S_DEAD) return off;
    }
    return off;
}
static void on_readable(client *c) {
    for (;;) {
        if (c->pendlen + RBUF > rbcap) { rbcap = c->pendlen + RBUF; rb = realloc(rb, rbcap); if (!rb) die("memory"); }
        if (c->pendlen) memcpy(rb, c->pend, c->pendlen);
        ssize_t r = recv(c->fd, rb + c->pendlen, RBUF, 0);
        if (r == 0) { client_dead(c, "closed by the server"); return; }
        if (r < 0) { if (errno == EAGAIN || errno == EINTR) return; client_dead(c, strerror(errno)); return; }
        rx_bytes += (uint64_t)r; rx_reads++;
        size_t n = c->pendlen + (size_t)r, need, used = on_bytes(c, rb, n, &need);
        if (c->state == S_DEAD) return;
        size_t rest = n - used;
        if (rest) {
            size_t cap = rest > need ? rest : need;
            if (cap < 256) cap = 256;
            if (c->pendcap < cap) { c->pend = realloc(c->pend, cap); if (!c->pend) die("memory"); c->pendcap = (uint32_t)cap; }
            memcpy(c->pend, rb + used, rest);
        }
        c->pendlen = (uint32_t)rest;
        return;               /* level triggered: the rest will be reported again */
    }
}

