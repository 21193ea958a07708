// Command chat is a chat with rooms, in memory, on one page: the example to
// look at, and to try a network on. Run it with "make run".
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/upshift-go/upshift/core"
)

//go:embed web
var web embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`host:port` to listen on; port 0 takes a free one")
	client := flag.String("client", "", "`directory` with the bundles of the official client (default: where npm installs them)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *addr, *client, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// run serves the chat until ctx ends. It writes one line to out, with the
// address, as soon as it listens.
func run(ctx context.Context, addr, clientDir string, out io.Writer) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if clientDir == "" {
		clientDir = findClient()
	}
	if clientDir == "" {
		logger.InfoContext(ctx, "no socket.io-client in node_modules: the page will load it from cdn.socket.io")
	}
	srv, err := core.New(core.Options{ClientDir: clientDir, Logger: logger})
	if err != nil {
		return err
	}
	serveChat(srv.Of("/"))

	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	httpServer := &http.Server{Handler: routes(srv), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- httpServer.Serve(listener) }()
	if _, err := fmt.Fprintf(out, "The chat is at %s\n", address(listener.Addr())); err != nil {
		return errors.Join(err, httpServer.Close())
	}

	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	return errors.Join(err, shutdown(context.WithoutCancel(ctx), srv, httpServer, logger))
}

// shutdown ends both servers. The Socket.IO server goes first: it lets go of
// the requests that the HTTP server would wait for. A page that has vanished
// without a word cannot be told, so it is waited for a little and no longer.
func shutdown(ctx context.Context, srv *core.Server, httpServer *http.Server, logger *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	pages, cancelPages := context.WithTimeout(ctx, 4*time.Second)
	defer cancelPages()
	err := srv.Shutdown(pages)
	if errors.Is(err, context.DeadlineExceeded) {
		logger.WarnContext(ctx, "some pages did not ask in time and were cut off")
		err = nil
	}
	return errors.Join(err, httpServer.Shutdown(ctx))
}

// routes has the page at / and the server below /socket.io/.
func routes(srv http.Handler) http.Handler {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // "web" is a valid path
	}
	page := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy",
			"default-src 'self'; script-src 'self' https://cdn.socket.io; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		page.ServeHTTP(w, r)
	})
	return mux
}

// findClient looks where "make run" installs the official client: in the
// example's folder, seen from the root of the repository or from the folder
// itself, and beside the binary.
func findClient() string {
	const dist = "node_modules/socket.io-client/dist"
	places := []string{filepath.Join("examples", "chat", dist), dist}
	if binary, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(binary), dist))
	}
	for _, dir := range places {
		if _, err := os.Stat(filepath.Join(dir, "socket.io.min.js")); err == nil {
			return dir
		}
	}
	return ""
}

// address is a URL that a person can open.
func address(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
