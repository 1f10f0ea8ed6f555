/* Options, and what is known of each client. */

static const char *o_host = "127.0.0.1", *o_path = "/socket.io/", *o_mode = "fanout";
static const char *o_nsp = "", *o_auth = "", *o_join[8], *o_join_ack, *o_go, *o_event = "tick";
static const char *o_prefix, *o_seq = "i", *o_ts = "ts", *o_echo, *o_echo_prefix, *o_label = "";
static const char *o_headers[16];
static int o_polling;
static int n_join, n_headers, o_port = 3000, o_clients = 100, o_conc = 64, o_window = 1;
static int o_settle = 500, o_server_core, o_quiet, o_verbose, o_echo_pad, o_spin, spinning;
static long o_k = 100, o_size = 200;
static double o_rate, o_secs = 5, o_hold, o_timeout = 55, o_idle = 5;
static int pids[64], n_pids;

enum { M_IDLE, M_FANOUT, M_ECHO, M_LISTEN };
static int mode;

enum { S_NONE, S_CONNECTING, S_HTTP, S_OPEN, S_SIO, S_ACK, S_READY, S_DEAD };

typedef struct {
    int fd, state, id;
    uint8_t *pend;            /* bytes of an incomplete frame (or HTTP head) */
    uint32_t pendlen, pendcap;
    int infrag;               /* inside a fragmented message */
    int64_t next_seq;         /* expected sequence number */
    uint64_t count;
    uint64_t t_start;         /* connect() time, monotonic ns */
    uint64_t *sent;           /* echo: ring of send times */
    uint64_t e_sent, e_recv;
    int poll;                 /* long-polling, not WebSocket */
    int posting;              /* the request in flight is a POST */
    char *sid;                /* of the session, for the URL */
    char *out;                /* packets for the next POST, joined by 0x1e */
    size_t outlen;
} client;

static client *cl;            /* o_clients + 1 (control) */
static int ep, n_ready, n_inflight, n_dead, n_launched;
static uint8_t *rb;
static size_t rbcap;

static char prefix[256], echo_prefix[256], sio_connect[1024], sio_ok[128];
static size_t prefix_len, echo_prefix_len, sio_connect_len, sio_ok_len, join_ack_len;
static char seq_needle[80], ts_needle[80];
static size_t seq_needle_len, ts_needle_len;
static int counting;          /* fanout/listen events are being counted */
static int echoing;

static uint64_t deliveries, rx_bytes, rx_reads, lost, disorder, nofield, other_events, first_ns, last_ns;
static uint64_t early;

