/*
 * sioload - a single-threaded epoll load generator for Socket.IO v5 / Engine.IO v4 servers, over
 *           WebSocket directly (transport=websocket) or over long-polling alone (--polling).
 *
 * Build:  cc -O2 -Wall -o sioload sioload.c -lm      (no dependencies; the .h files are its parts)
 * Run  :  taskset -c 1 ./sioload --port 3000 --mode fanout --clients 1000 ...
 *
 * Every client does: GET <path>?EIO=4&transport=websocket (Upgrade), checks 101 +
 * Sec-WebSocket-Accept, reads the EIO open packet `0{..}`, sends `40` (or `40/nsp,`,
 * with --auth `40{..}`), reads `40{"sid":..}`, then sends the --join frame(s), if any.
 * It answers EIO pings (`2` -> `3`, `2x` -> `3x`) and WebSocket pings; client frames are masked.
 * One JSON line goes to stdout; a short summary for people goes to stderr (--quiet: none).
 * Exit status: 0 ok; 1 could not connect/join; 2 usage; 3 frames lost, out of order,
 * or connections dropped.
 *
 * MODES (--mode)
 *   idle    connect (and join) N clients, wait --settle-ms, report connect rate and RSS, hold
 *           --hold seconds (answering pings), leave.
 *   fanout  after all are joined, one extra control client (it does not join) sends the --go
 *           frame; every one of the N clients must then receive --k events. Counts them, checks
 *           that the sequence field of each client runs 0,1,2,..,k-1. Ends when all N*K have
 *           arrived, or nothing arrived for --idle-timeout s, or --timeout.
 *   echo    each client keeps --window echo frames outstanding for --secs s.
 *   listen  count events for --secs s after the join; sequence gaps -> lost, backward steps ->
 *           out of order/duplicate; latency from the time stamp field. With an explicit --go, a
 *           control client sends that frame when listening begins.
 *
 * OPTIONS
 *   --host A (127.0.0.1)  --port P (3000)  --path /socket.io/   --header 'Name: v' (repeatable)
 *   --polling             the clients use long-polling; see polling.h (not in mode echo)
 *   --clients N (100)     --concurrency C (64): connects in flight
 *   --nsp /chat           namespace (default "/"): connect packet and the default frame prefixes
 *   --auth JSON           connect payload: 40{"token":"x"}
 *   --join TEXT           a whole frame sent after the SIO connect, e.g. '42["join"]' or
 *                         '42/chat,["sub","room-{c}"]' ({c} = client number, 0..N-1). Repeatable (8).
 *   --join-ack PREFIX     a client only counts as joined when a text frame beginning with PREFIX
 *                         has come, e.g. '42["joined"' or '430['
 *   --settle-ms MS (500)  pause after the last join (before the RSS reading and the go)
 *   --server-pid P[,P..]  server process(es): CPU from /proc/P/stat, RSS from /proc/P/status (sums)
 *   --server-core C (0)   the core whose busy time (/proc/stat) is reported as server_core_busy
 *   --go TEXT             go frame, {K} {SIZE} {RATE} are substituted; default
 *                         '42["go",{K},{SIZE},{RATE}]' in mode fanout, none in mode listen
 *   --k K (100) --size S (200) --rate R (0 = as fast as possible; events per second)
 *   --event NAME (tick)   the event to count: frames that begin with 42["NAME" (42/nsp,["NAME")
 *   --prefix TEXT         the exact frame prefix to count instead, e.g. '451-["tick"'
 *   --seq-field F (i)     numeric field, the first `"F":digits` in the frame; '' = no check
 *   --ts-field F (ts)     numeric field, microseconds since the Unix epoch; '' = no latency
 *                         A field name '#' means "the first number after the frame prefix", for
 *                         events with a positional argument: 42["tick",17,...
 *   --echo TEXT           frame to send in mode echo, {i} = running number; default '42["echo",{i}]'
 *   --echo-prefix TEXT    the reply to count, digits follow it; default '42["echo",'. Replies are
 *                         matched in order; number checked when there is one.
 *   --echo-pad S (0)      with the default --echo: adds a second argument of S 'x'
 *   --window W (1)        outstanding echoes per client (<= 1024)
 *   --secs T (5)          length of echo / listen      --hold T (0)  see idle
 *   --timeout T (55)      overall guard                --idle-timeout T (5)
 *   --spin                poll with epoll_wait(0) while measuring instead of sleeping, so that the
 *                         server's send() never pays for waking this process (gen_util is then 1)
 *   --label TEXT          copied to the JSON           --quiet         --verbose
 *
 * LIMITS OF THE CHECKS
 *   A swap of two events shows as lost 1 + disorder 1. In a WebSocket-fragmented message the prefix
 *   and the two fields are only looked for in the first fragment (otherwise: nofield). No
 *   permessage-deflate is offered. One namespace per client. IPv4 only, no TLS.
 *
 * FIGURES
 *   deliveries_per_s       (deliveries - 1) / (first delivery .. last delivery)
 *   server_cpu_s           utime+stime of the server from just before the go was sent to just
 *                          after the last delivery (10 ms ticks; includes the kernel's loopback
 *                          receive work done inside send(), softirq is charged to the sender)
 *   deliveries_per_cpu_s   deliveries / server_cpu_s
 *   server_core_busy       busy share of the server core over that span, by /proc/stat (other
 *                          processes on that core included)
 *   server_util            server_cpu_s / span;  gen_util: own CPU / span (0.95+ = saturated)
 *   lat_us                 receive time (CLOCK_REALTIME after read()) - time stamp; histogram of
 *                          under 1 % relative width. echo: round trip on CLOCK_MONOTONIC.
 *   rss_before_kib / rss_idle_kib / kib_per_conn   VmRSS before connecting, after N idle
 *                          connections + settle; their difference / N. Kernel memory is not in it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RBUF 65536
#define WS_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define WS_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#include "state.h"
#include "measure.h"
#include "sending.h"
#include "receiving.h"
#include "polling.h"
#include "connecting.h"

/* ------------------------------------------------------------------- output */
static char js[16384]; static size_t jl;
static void J(const char *f, ...) { va_list a; va_start(a, f); jl += (size_t)vsnprintf(js + jl, sizeof js - jl, f, a); va_end(a); }
static void jstr(const char *k, const char *v) {
    J("\"%s\":\"", k);
    for (; *v; v++) if (*v == '"' || *v == '\\') J("\\%c", *v); else if ((unsigned char)*v >= 32) J("%c", *v);
    J("\"");
}

static const char *arg(int argc, char **argv, int *i) { if (*i + 1 >= argc) { fprintf(stderr, "sioload: %s needs a value\n", argv[*i]); exit(2); } return argv[++*i]; }

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
#define A() arg(argc, argv, &i)
        if (!strcmp(a, "--host")) o_host = A();
        else if (!strcmp(a, "--port")) o_port = atoi(A());
        else if (!strcmp(a, "--path")) o_path = A();
        else if (!strcmp(a, "--header")) { if (n_headers < 16) o_headers[n_headers++] = A(); }
        else if (!strcmp(a, "--polling")) o_polling = 1;
        else if (!strcmp(a, "--clients")) o_clients = atoi(A());
        else if (!strcmp(a, "--concurrency")) o_conc = atoi(A());
        else if (!strcmp(a, "--nsp")) o_nsp = A();
        else if (!strcmp(a, "--auth")) o_auth = A();
        else if (!strcmp(a, "--mode")) o_mode = A();
        else if (!strcmp(a, "--join")) { if (n_join < 8) o_join[n_join++] = A(); }
        else if (!strcmp(a, "--join-ack")) o_join_ack = A();
        else if (!strcmp(a, "--settle-ms")) o_settle = atoi(A());
        else if (!strcmp(a, "--server-pid")) { char *s = strdup(A()); for (char *t = strtok(s, ","); t && n_pids < 64; t = strtok(NULL, ",")) pids[n_pids++] = atoi(t); }
        else if (!strcmp(a, "--server-core")) o_server_core = atoi(A());
        else if (!strcmp(a, "--go")) o_go = A();
        else if (!strcmp(a, "--k")) o_k = atol(A());
        else if (!strcmp(a, "--size")) o_size = atol(A());
        else if (!strcmp(a, "--rate")) o_rate = atof(A());
        else if (!strcmp(a, "--event")) o_event = A();
        else if (!strcmp(a, "--prefix")) o_prefix = A();
        else if (!strcmp(a, "--seq-field")) o_seq = A();
        else if (!strcmp(a, "--ts-field")) o_ts = A();
        else if (!strcmp(a, "--echo")) o_echo = A();
        else if (!strcmp(a, "--echo-prefix")) o_echo_prefix = A();
        else if (!strcmp(a, "--echo-pad")) o_echo_pad = atoi(A());
        else if (!strcmp(a, "--window")) o_window = atoi(A());
        else if (!strcmp(a, "--secs")) o_secs = atof(A());
        else if (!strcmp(a, "--hold")) o_hold = atof(A());
        else if (!strcmp(a, "--timeout")) o_timeout = atof(A());
        else if (!strcmp(a, "--idle-timeout")) o_idle = atof(A());
        else if (!strcmp(a, "--label")) o_label = A();
        else if (!strcmp(a, "--quiet")) o_quiet = 1;
        else if (!strcmp(a, "--spin")) o_spin = 1;
        else if (!strcmp(a, "--verbose")) o_verbose = 1;
        else { fprintf(stderr, "sioload: unknown option %s (see the head of sioload.c)\n", a); return 2; }
    }
    if (!strcmp(o_mode, "idle")) mode = M_IDLE; else if (!strcmp(o_mode, "fanout")) mode = M_FANOUT;
    else if (!strcmp(o_mode, "echo")) mode = M_ECHO; else if (!strcmp(o_mode, "listen")) mode = M_LISTEN;
    else { fprintf(stderr, "sioload: unknown mode %s\n", o_mode); return 2; }
    if (o_window < 1 || o_window > 1024 || o_clients < 1 || o_conc < 1 || o_echo_pad > 60000) { fprintf(stderr, "sioload: bad number\n"); return 2; }
    if (o_polling && mode == M_ECHO) { fprintf(stderr, "sioload: no echo by polling: a client has one connection\n"); return 2; }
    signal(SIGPIPE, SIG_IGN); signal(SIGALRM, SIG_DFL); alarm((unsigned)(o_timeout + 15));
    struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
    if (rl.rlim_cur < (rlim_t)o_clients + 32) die("open files limit %lu too low", (unsigned long)rl.rlim_cur);

    char nspc[200] = ""; if (*o_nsp && strcmp(o_nsp, "/")) snprintf(nspc, sizeof nspc, "%s,", o_nsp);
    if (o_prefix) snprintf(prefix, sizeof prefix, "%s", o_prefix); else snprintf(prefix, sizeof prefix, "42%s[\"%s\"", nspc, o_event);
    prefix_len = strlen(prefix);
    if (o_echo_prefix) snprintf(echo_prefix, sizeof echo_prefix, "%s", o_echo_prefix); else snprintf(echo_prefix, sizeof echo_prefix, "42%s[\"echo\",", nspc);
    echo_prefix_len = strlen(echo_prefix);
    snprintf(sio_connect, sizeof sio_connect, "40%s%s", nspc, o_auth); sio_connect_len = strlen(sio_connect);
    snprintf(sio_ok, sizeof sio_ok, "40%s", nspc); sio_ok_len = strlen(sio_ok);
    join_ack_len = o_join_ack ? strlen(o_join_ack) : 0;
    if (*o_seq) snprintf(seq_needle, sizeof seq_needle, strcmp(o_seq, "#") ? "\"%s\":" : "%s", o_seq);
    if (*o_ts) snprintf(ts_needle, sizeof ts_needle, strcmp(o_ts, "#") ? "\"%s\":" : "%s", o_ts);
    seq_needle_len = strlen(seq_needle); ts_needle_len = strlen(ts_needle);

    memset(&sa, 0, sizeof sa); sa.sin_family = AF_INET; sa.sin_port = htons((uint16_t)o_port);
    if (!strcmp(o_host, "localhost")) o_host = "127.0.0.1";
    if (inet_pton(AF_INET, o_host, &sa.sin_addr) != 1) die("--host must be an IPv4 address");
    http_len = (size_t)snprintf(http_req, sizeof http_req,
        "GET %s%sEIO=4&transport=websocket HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: " WS_KEY "\r\nSec-WebSocket-Version: 13\r\n", o_path, strchr(o_path, '?') ? "&" : "?", o_host, o_port);
    for (int i = 0; i < n_headers; i++) http_len += (size_t)snprintf(http_req + http_len, sizeof http_req - http_len, "%s\r\n", o_headers[i]);
    http_len += (size_t)snprintf(http_req + http_len, sizeof http_req - http_len, "\r\n");

    cl = calloc((size_t)o_clients + 1, sizeof *cl); rbcap = RBUF + 4096; rb = malloc(rbcap); ep = epoll_create1(0);
    if (!cl || !rb || ep < 0) die("init");
    t_begin = mono();
    long rss0 = server_rss();

    /* -- connect */
    snap_t c0 = snap(); uint64_t t0 = mono();
    while (n_ready < o_clients && !n_dead && !out_of_time()) {
        while (n_launched < o_clients && n_inflight < o_conc) { launch(&cl[n_launched], n_launched); n_launched++; }
        pump(200);
    }
    double connect_s = since(t0); snap_t c1 = snap();
    J("{"); jstr("label", o_label); J(","); jstr("mode", o_mode);
    J(",\"clients\":%d,\"connected\":%d,\"connect_s\":%.4f,\"connects_per_s\":%.1f", o_clients, n_ready, connect_s, (double)n_ready / connect_s);
    double ccpu = c1.s.user + c1.s.sys - c0.s.user - c0.s.sys;
    J(",\"connect_server_cpu_s\":%.2f,\"connects_per_cpu_s\":%.1f,\"connect_gen_util\":%.3f,\"connect_us\":{\"p50\":%llu,\"p99\":%llu,\"max\":%llu}", ccpu, ccpu > 0 ? (double)n_ready / ccpu : 0.0,
      (c1.own - c0.own) / connect_s, (unsigned long long)hpct(&h_conn, .5), (unsigned long long)hpct(&h_conn, .99), (unsigned long long)h_conn.max);
    if (n_ready < o_clients) { J(",\"error\":\"connected %d of %d, %d dropped\"}", n_ready, o_clients, n_dead); puts(js); fprintf(stderr, "sioload: connected %d of %d, %d dropped\n", n_ready, o_clients, n_dead); return 1; }
    pump_for(o_settle / 1000.0);
    long rss1 = server_rss();
    if (n_pids) J(",\"rss_before_kib\":%ld,\"rss_idle_kib\":%ld,\"kib_per_conn\":%.2f", rss0, rss1, (double)(rss1 - rss0) / o_clients);
    if (!o_quiet) fprintf(stderr, "connect: %d in %.3f s = %.0f/s, p50 %llu us; RSS %ld -> %ld KiB\n", n_ready, connect_s, n_ready / connect_s, (unsigned long long)hpct(&h_conn, .5), rss0, rss1);

    if (mode == M_IDLE) { if (o_hold > 0) pump_for(o_hold); J(",\"rss_end_kib\":%ld,\"dropped\":%d}", server_rss(), n_dead); puts(js); return n_dead ? 3 : 0; }

    /* -- control client */
    client *ctl = NULL;
    if (mode == M_FANOUT && !o_go) { static char g[300]; snprintf(g, sizeof g, "42%s[\"go\",{K},{SIZE},{RATE}]", nspc); o_go = g; }
    if (mode != M_ECHO && o_go) {
        ctl = &cl[o_clients]; launch(ctl, o_clients);
        while (ctl->state != S_READY && ctl->state != S_DEAD && !out_of_time()) pump(100);
        if (ctl->state != S_READY) die("control client could not connect");
    }
    for (int i = 0; i < o_clients; i++) cl[i].next_seq = mode == M_FANOUT ? 0 : -1;

    spinning = o_spin;
    snap_t a = snap(), b;
    if (mode == M_ECHO) {
        for (int i = 0; i < o_clients; i++) { cl[i].sent = calloc((size_t)o_window, 8); if (!cl[i].sent) die("memory"); }
        echoing = 1; uint64_t t = mono();
        for (int i = 0; i < o_clients; i++) for (int w = 0; w < o_window && cl[i].state == S_READY; w++) send_echo(&cl[i]);
        while (since(t) < o_secs && !out_of_time()) pump(100);
        echoing = 0; b = snap();
        /* drain */
        uint64_t out; t = mono();
        do { pump(20); out = 0; for (int i = 0; i < o_clients; i++) if (cl[i].state == S_READY) out += cl[i].e_sent - cl[i].e_recv; } while (out && since(t) < o_idle);
        lost = out;
    } else {
        counting = 1;
        if (ctl) {
            char k[24], s[24], r[40], g[8192]; snprintf(k, sizeof k, "%ld", o_k); snprintf(s, sizeof s, "%ld", o_size);
            if (o_rate == floor(o_rate)) snprintf(r, sizeof r, "%.0f", o_rate); else snprintf(r, sizeof r, "%g", o_rate);
            const char *nm[] = {"K", "SIZE", "RATE"}, *v[] = {k, s, r};
            size_t n = subst(g, sizeof g, o_go, nm, v, 3);
            a = snap(); send_frame(ctl, 1, g, n);
        }
        uint64_t tprog = mono(), dprev = 0, want = (uint64_t)o_k * (uint64_t)o_clients, tl = mono();
        while (!out_of_time()) {
            pump(100);
            if (mode == M_LISTEN) { if (since(tl) >= o_secs) break; continue; }
            if (deliveries >= want) break;
            if (n_dead) break;
            if (deliveries != dprev) { dprev = deliveries; tprog = mono(); }
            else if (since(tprog) > o_idle) break;
        }
        b = snap();
        spinning = 0;
        if (mode == M_FANOUT) {
            double q = 0.1; pump_for(q);      /* duplicates that come late would be seen here */
            for (int i = 0; i < o_clients; i++) if (cl[i].count < (uint64_t)o_k) {
                int64_t got = seq_needle_len ? cl[i].next_seq : (int64_t)cl[i].count;   /* gaps before next_seq were counted already */
                if (got < o_k) lost += (uint64_t)(o_k - got);
            }
        }
    }
    double span = (double)(b.t - a.t) / 1e9, dspan = (double)(last_ns - first_ns) / 1e9;
    double u = b.s.user - a.s.user, s = b.s.sys - a.s.sys, cpu = u + s, own = b.own - a.own;
    uint64_t dups = mode == M_FANOUT && deliveries > (uint64_t)o_k * (uint64_t)o_clients ? deliveries - (uint64_t)o_k * (uint64_t)o_clients : 0;
    double rate = dspan > 0 ? (double)(deliveries - 1) / dspan : 0;
    J(",\"k\":%ld,\"size\":%ld,\"rate\":%g,\"window\":%d", o_k, o_size, o_rate, o_window);
    J(",\"deliveries\":%llu,\"span_s\":%.4f,\"deliveries_per_s\":%.1f", (unsigned long long)deliveries, dspan, rate);
    if (mode == M_FANOUT) J(",\"expected\":%llu", (unsigned long long)o_k * (unsigned long long)o_clients);
    if (n_pids) J(",\"server_cpu_s\":%.2f,\"server_user_s\":%.2f,\"server_sys_s\":%.2f,\"deliveries_per_cpu_s\":%.1f,\"server_util\":%.3f,\"rss_end_kib\":%ld", cpu, u, s, cpu > 0 ? (double)deliveries / cpu : 0.0, cpu / span, server_rss());
    J(",\"server_core_busy\":%.3f,\"gen_util\":%.3f,\"cpu_span_s\":%.4f", (b.core - a.core) / span, own / span, span);
    if (h_lat.n) J(",\"lat_us\":{\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu}", (unsigned long long)hpct(&h_lat, .5), (unsigned long long)hpct(&h_lat, .9), (unsigned long long)hpct(&h_lat, .99), (unsigned long long)hpct(&h_lat, .999), (unsigned long long)h_lat.max);
    uint64_t mn = ~0ull, mx = 0; for (int i = 0; i < o_clients; i++) { if (cl[i].count < mn) mn = cl[i].count; if (cl[i].count > mx) mx = cl[i].count; }
    if (mode == M_LISTEN) J(",\"per_client_min\":%llu,\"per_client_max\":%llu", (unsigned long long)mn, (unsigned long long)mx);
    J(",\"lost\":%llu,\"disorder\":%llu,\"dups\":%llu,\"nofield\":%llu,\"early\":%llu,\"other_events\":%llu,\"dropped\":%d,\"bytes_per_read\":%.0f}",
      (unsigned long long)lost, (unsigned long long)disorder, (unsigned long long)dups, (unsigned long long)nofield, (unsigned long long)early, (unsigned long long)other_events, n_dead, rx_reads ? (double)rx_bytes / (double)rx_reads : 0.0);
    puts(js);
    if (!o_quiet) fprintf(stderr, "%s: %llu in %.3f s = %.0f/s; server CPU %.2f s (user %.2f sys %.2f) = %.0f per CPU s; util server %.2f core %.2f generator %.2f; latency p50 %llu p99 %llu max %llu us; lost %llu disorder %llu dropped %d\n",
        o_mode, (unsigned long long)deliveries, dspan, rate, cpu, u, s, cpu > 0 ? deliveries / cpu : 0.0, cpu / span, (b.core - a.core) / span, own / span,
        (unsigned long long)hpct(&h_lat, .5), (unsigned long long)hpct(&h_lat, .99), (unsigned long long)h_lat.max, (unsigned long long)lost, (unsigned long long)disorder, n_dead);
    return lost || disorder || dups || n_dead ? 3 : 0;
}
