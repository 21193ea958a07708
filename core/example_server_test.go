package core_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

// A server with one handler. Mount it where the HTTP server of the program is,
// or let it listen by itself.
func ExampleNew() {
	srv, err := core.New(core.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	core.On(srv.Of("/"), "greet", func(_ context.Context, _ *core.Socket, name string) (string, error) {
		return "hello " + name, nil
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)

	_, err = core.New(core.Options{MaxRooms: -1})
	fmt.Println(err)
	// Output: core: Options has a negative limit
}

// On net/http, and on every router that takes an http.Handler.
func ExampleServer_ServeHTTP() {
	srv, err := core.New(core.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })

	site := httptest.NewServer(mux)
	defer site.Close()
	defer stop(srv)
	fmt.Println(get(site.URL + "/hello"))
	status, _ := get(site.URL + "/socket.io/?EIO=4&transport=polling")
	fmt.Println(status, srv.Sessions())
	// Output:
	// 200 hello
	// 200 1
}

// On fasthttp, without an adaptor. Fiber passes its c.RequestCtx() on.
func ExampleServer_ServeFastHTTP() {
	srv, err := core.New(core.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := &fasthttp.Server{Handler: srv.ServeFastHTTP}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- site.Serve(listener) }()

	status, _ := get("http://" + listener.Addr().String() + "/socket.io/?EIO=4&transport=polling")
	fmt.Println(status, srv.Sessions())
	stop(srv)
	fmt.Println(site.Shutdown(), <-served)
	// Output:
	// 200 1
	// <nil> <nil>
}

// A program that serves nothing else needs no HTTP server of its own.
func ExampleServer_ServeListener() {
	srv, err := core.New(core.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // ListenAndServe(":3000") does this, too
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- srv.ServeListener(listener) }()

	status, _ := get("http://" + listener.Addr().String() + "/socket.io/?EIO=4&transport=polling")
	fmt.Println(status)
	stop(srv)
	fmt.Println(<-served)
	// Output:
	// 200
	// <nil>
}

// Every field has a default; these are some that a service may want to change.
func ExampleOptions() {
	srv, err := core.New(core.Options{
		Transports: []transports.Transport{
			polling.New(polling.Options{}),
			ws.New(ws.Options{Compression: ws.Compression{Enabled: true}}),
		},
		PingInterval:   20 * time.Second, // with PingTimeout below the idle timeout of the proxy in front
		MaxPayload:     100_000,
		MaxSessions:    50_000,
		MaxConnectRate: 1000, // after a restart all come at once
		ShutdownSpread: 10 * time.Second,
		CORS:           &core.CORS{Origins: []string{"https://shop.example.com"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(srv.MaxPayload())
	// Output: 100000
}

// Pages of which origins may connect, besides the server's own. It counts for
// polling and for WebSocket.
func ExampleOptions_origin() {
	srv, err := core.New(core.Options{
		CORS:     &core.CORS{Origins: []string{"https://*.example.com"}},
		OnReject: func(e *core.RequestError) { fmt.Println("refused:", e) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := httptest.NewServer(srv)
	defer site.Close()
	defer stop(srv)
	fmt.Println(get(site.URL+"/socket.io/?EIO=4&transport=polling", "Origin", "https://evil.example"))
	// Output:
	// refused: session: Forbidden (ORIGIN_REFUSED): origin not allowed
	// 403 {"code":4,"message":"origin not allowed"}
}

// What a load balancer without sticky sessions looks like from the server: it
// does not know the session that a request names.
func ExampleRequestError() {
	srv, err := core.New(core.Options{
		OnReject: func(e *core.RequestError) {
			if e.Code == session.CodeUnknownSession {
				fmt.Println("another server's session:", e.SessionID)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := httptest.NewServer(srv)
	defer site.Close()
	defer stop(srv)
	fmt.Println(get(site.URL + "/socket.io/?EIO=4&transport=polling&sid=elsewhere"))
	// Output:
	// another server's session: elsewhere
	// 400 {"code":1,"message":"Session ID unknown"}
}

// What was sent before is delivered, then the clients are let go: they see
// "transport close" and connect again, to another server. Shut down the server
// first and the HTTP server after it.
func ExampleServer_Shutdown() {
	srv := newDemo(core.Options{})
	ns := srv.Of("/")
	ns.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) {
		fmt.Println("left:", core.ReasonOf(cause))
	})
	client := srv.join("/", nil)

	_ = ns.Emit(context.Background(), "goodbye")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(srv.Shutdown(ctx)) // waits for OnDisconnect, too
	fmt.Println("client:", client.next())
	// Output:
	// left: server shutting down
	// <nil>
	// client: goodbye
}

// Behind a proxy the limits for addresses need to be told where the address is.
func ExampleOptions_clientAddress() {
	srv, err := core.New(core.Options{
		MaxSessionsPerAddress: 1,
		ClientAddress:         func(h *core.Handshake) string { return h.Header.Get("X-Real-IP") },
		OnReject:              func(e *core.RequestError) { fmt.Println(errors.Is(e, core.ErrTooManySessionsFromAddress)) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := httptest.NewServer(srv)
	defer site.Close()
	defer stop(srv)
	for _, address := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.1"} {
		status, _ := get(site.URL+"/socket.io/?EIO=4&transport=polling", "X-Real-IP", address)
		fmt.Println(address, status)
	}
	// Output:
	// 192.0.2.1 200
	// 192.0.2.2 200
	// true
	// 192.0.2.1 429
}

// Counts of what the limits have done, for metrics.
func ExampleServer_Stats() {
	srv := newDemo(core.Options{MaxRooms: 2})
	defer srv.close()
	core.On(srv.Of("/"), "subscribe", func(ctx context.Context, s *core.Socket, room string) (string, error) {
		if err := s.Join(ctx, room); errors.Is(err, core.ErrTooManyRooms) {
			return "too many", nil
		}
		return "subscribed", nil
	})
	client := srv.join("/", nil)
	for _, room := range []string{"a", "b", "c"} {
		fmt.Println(client.ask("subscribe", room))
	}
	stats := srv.Stats()
	fmt.Println(stats.Sessions, stats.TooManyRooms)
	// Output:
	// "subscribed"
	// "subscribed"
	// "too many"
	// 1 1
}

// Hooks see what happens on the whole server, in all namespaces.
func ExampleServer_Observe() {
	srv := newDemo(core.Options{})
	remove := srv.Observe(core.Hooks{
		Connected:     func(s *core.Socket) { fmt.Println("connected to", s.Namespace().Name()) },
		EventReceived: func(_ *core.Socket, event string, _ core.Args) { fmt.Println("received", event) },
		Broadcast: func(_ context.Context, b *core.Broadcasted) {
			fmt.Println("sent", b.Event, "to", b.Recipients)
		},
		Disconnected: func(_ *core.Socket, cause *core.CloseError) { fmt.Println("left:", core.ReasonOf(cause)) },
	})
	chat := srv.Of("/chat")
	core.On(chat, "say", func(ctx context.Context, _ *core.Socket, text string) (core.None, error) {
		return core.None{}, chat.Emit(ctx, "said", text)
	})

	client := srv.join("/chat", nil)
	client.emit("say", "hello")
	client.next()
	srv.close()
	remove() // from now on nothing is told
	// Output:
	// connected to /chat
	// received say
	// sent said to 1
	// left: server shutting down
}

// Clients of Socket.IO 2, which speak Engine.IO 3, are refused unless the server
// lets them in.
func ExampleOptions_eio3() {
	for _, allow := range []bool{false, true} {
		srv, err := core.New(core.Options{AllowEIO3: allow})
		if err != nil {
			fmt.Println(err)
			return
		}
		site := httptest.NewServer(srv)
		status, body := get(site.URL + "/socket.io/?EIO=3&transport=polling")
		if status != http.StatusOK {
			fmt.Println(status, body)
		}
		fmt.Println(allow, srv.Sessions())
		stop(srv)
		site.Close()
	}
	// Output:
	// 400 {"code":5,"message":"Unsupported protocol version"}
	// false 0
	// true 1
}

// stop ends a server whose clients are of no interest any more.
func stop(srv *core.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = srv.Shutdown(ctx)
}
