// Package relay lets the servers of a cluster stand behind a balancer that has no
// sticky sessions. A request for a session that another server has is passed on to
// that server, over HTTP, and its answer back.
//
//	srv, err := core.New(core.Options{
//		Adapter:    cluster.New(engine, cluster.Options{}),
//		SessionTag: relay.NewTag(),
//	})
//	front, err := relay.New(srv, relay.Options{
//		Advertise: "http://10.0.0.3:3000", // where the other servers reach this one
//		Secret:    os.Getenv("RELAY_SECRET"),
//	})
//	http.Handle("/socket.io/", front) // in place of srv
//
// The first characters of a session id are the tag of the server that has the
// session, so that any other knows whose it is without asking. The servers tell
// each other their tags and addresses through the adapter, when they start, and
// ask when they meet a tag that they do not know. If nobody has it, or the server
// that had it cannot be connected to, the client is told what a server without
// this package tells it, status 400 and {"code":1,"message":"Session ID unknown"},
// and opens a new session.
//
// # What it costs
//
// With n servers and a balancer that takes turns, all but one in n requests are for
// another server, and each of those takes a second HTTP request and a connection
// between two servers for as long as it lasts. A parked poll holds one. A session
// that moves to WebSocket does so through whichever server gets the request: the
// others tunnel it, which takes a connection and two goroutines on that server for
// as long as the session lives, and the session ends if either server does. Clients
// that use WebSocket alone are never relayed. A balancer that can be sticky spares
// all of that.
//
// # Trust
//
// What one server passes on to another is signed with Options.Secret, and the
// address and scheme of the client are believed if the signature is right. A
// request with a wrong one is refused. One that has been passed on is not passed on
// again. Only requests for the server's own Path are.
//
// # And the official cluster engine
//
// @socket.io/cluster-engine 0.1.0 does the same for Node servers in another way: the
// server that gets a request asks all others, through the broker, whose the session
// is, and then packets travel through the broker in both directions. Here a request
// goes to its server directly: what the broker loses or reorders cannot hurt a
// session, a payload does not go to servers that it does not concern, the id says
// whose it is, and the answer is that of the server, whatever transport made it. The
// price is that servers must reach each other over HTTP. The two do not work
// together, and Node servers in the same cluster still need sticky sessions for the
// sessions that they have.
package relay

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
)

const (
	tagLength = 4  // of core.Options.SessionTag
	idLength  = 20 // of the ids that have one
)

// NewTag returns a random tag for core.Options.SessionTag. That two of 100 servers
// draw the same happens once in 3,400 times; it is logged, and counted as
// Stats.Clashes.
func NewTag() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// A Relay serves a core.Server, and passes on what is for others. All methods are
// safe for concurrent use.
type Relay struct {
	server    *core.Server
	options   Options
	transport *http.Transport
	directory directory

	active atomic.Int64 // of Options.MaxRelayed
	stats  counters
	quiet  struct{ announce, clash, forged, refused, failed, busy quiet }

	ctx    context.Context //nolint:containedctx // of everything that goes on until Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // of questions and tunnels

	mu      sync.Mutex // guards what follows
	closed  bool
	tunnels map[*tunnel]struct{}
}

var _ http.Handler = (*Relay)(nil)

// New returns what is to be mounted in place of srv, which needs a SessionTag. It
// announces the server to the others and does not wait for them. The error says
// what is wrong with o or srv.
func New(srv *core.Server, o Options) (*Relay, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if srv.SessionTag() == "" {
		return nil, errors.New("relay: the server has no SessionTag")
	}
	r := &Relay{server: srv, options: o, tunnels: make(map[*tunnel]struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	const (
		keep      = 30 * time.Second // below what servers are usually told to keep idle connections
		maxHeader = 256 << 10
	)
	r.transport = &http.Transport{
		DialContext:            (&net.Dialer{Timeout: o.DialTimeout}).DialContext,
		TLSClientConfig:        o.TLS.Clone(),
		TLSHandshakeTimeout:    o.DialTimeout,
		MaxIdleConnsPerHost:    o.MaxIdle,
		IdleConnTimeout:        keep,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // it is between the owner and the client
	}
	r.directory.relay = r
	r.directory.path = srv.Path()
	r.directory.own = announcement{Tag: srv.SessionTag(), URL: o.Advertise}
	if err := r.directory.start(srv); err != nil {
		r.cancel()
		return nil, err
	}
	return r, nil
}

// ServeHTTP implements http.Handler.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.Serve(exchange.HTTP(w, req)) }

// ServeFastHTTP is a fasthttp.RequestHandler. As with core.Server, a fasthttp
// server that does not keep hijacked connections has a goroutine of its own for
// each WebSocket, also for one that is tunnelled.
func (r *Relay) ServeFastHTTP(ctx *fasthttp.RequestCtx) { r.Serve(exchange.FastHTTP(ctx, false)) }

// Serve answers a request of any HTTP server, as core.Server.Serve does. ServeHTTP
// and ServeFastHTTP come down to it.
func (r *Relay) Serve(ex transports.Exchange) {
	if field := ex.Header(header); field != "" {
		r.receive(ex, field)
		return
	}
	tag, ok := r.foreign(ex)
	if !ok {
		r.server.Serve(ex)
		return
	}
	o := r.directory.find(ex.Context(), tag)
	if o == nil {
		r.stats.unknown.Add(1)
		r.server.Serve(ex) // which does not know the session either, and says so
		return
	}
	r.forward(ex, o)
}

// foreign returns the tag in the session id of a request, and whether it is that of
// another server.
func (r *Relay) foreign(ex transports.Exchange) (tag string, ok bool) {
	sid := ex.Query().Get("sid")
	if len(sid) != idLength || sid[:tagLength] == r.directory.own.Tag {
		return "", false
	}
	if method := ex.Method(); method != http.MethodGet && method != http.MethodPost {
		return "", false
	}
	path := ex.Path()
	return sid[:tagLength], path == r.server.Path() || path+"/" == r.server.Path()
}

// receive answers a request that says that another server passes it on.
func (r *Relay) receive(ex transports.Exchange, field string) {
	query := ex.Query()
	h, ok := readHop(field, r.options.Secret, ex.Method(), string(query))
	if !ok {
		r.stats.forged.Add(1)
		r.warn(&r.quiet.forged, "a relayed request is not signed with Options.Secret: another server has another one, or somebody tries", remote(ex))
		ex.SetHeader(header, notSigned)
		respond(ex, http.StatusForbidden, `{"code":4,"message":"Forbidden"}`)
		return
	}
	r.stats.received.Add(1)
	if sid := query.Get("sid"); len(sid) != idLength || sid[:tagLength] != r.directory.own.Tag {
		ex.SetHeader(header, notHere)
	}
	r.server.Serve(&relayed{Exchange: ex, hop: h})
}

// respond answers a request with an Engine.IO error.
func respond(ex transports.Exchange, status int, body string) {
	ex.SetHeader("Content-Type", "application/json")
	ex.SetHeader("Cache-Control", "no-store")
	_ = ex.Respond(status, []byte(body)) // the client may be gone, which is as well
}

// enter counts something in that is passed on. It reports false if there is too
// much already, or it is too late.
func (r *Relay) enter() bool {
	if r.active.Add(1) <= int64(r.options.MaxRelayed) && r.ctx.Err() == nil {
		return true
	}
	r.active.Add(-1)
	return false
}

func (r *Relay) leave() { r.active.Add(-1) }

// start runs f on a goroutine that Close waits for, or reports that it is too
// late.
func (r *Relay) start(f func()) bool {
	if !r.hold() {
		return false
	}
	go func() {
		defer r.wg.Done()
		f()
	}()
	return true
}

// hold makes Close wait for a goroutine, or reports that it is too late.
func (r *Relay) hold() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Add(1)
	}
	return !r.closed
}

// Close cuts what is still under way between this server and the others, and
// returns when no goroutine is left that it has started. Sessions of other servers
// whose request or WebSocket is cut are lost to their clients, which open new ones.
// To lose none that polls, shut down the HTTP server first, which waits for its
// requests: errors.Join(srv.Shutdown(ctx), httpServer.Shutdown(ctx), front.Close()).
// Requests that come later are answered with status 503.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	all := make([]*tunnel, 0, len(r.tunnels))
	for t := range r.tunnels {
		all = append(all, t)
	}
	r.mu.Unlock()
	r.cancel()
	for _, t := range all {
		t.end()
	}
	r.wg.Wait()
	r.transport.CloseIdleConnections()
	return nil
}
