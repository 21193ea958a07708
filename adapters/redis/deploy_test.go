package redis_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/clustertest/ports"
	"github.com/upshift-go/upshift/internal/redistest"
	"github.com/upshift-go/upshift/upshifttest"
)

// A pair is two servers with a client at the second.
type pair struct {
	*testing.T
	first  *core.Server
	client *upshifttest.Client
}

func startPair(t *testing.T, o rueidis.ClientOption) *pair {
	t.Helper()
	server := func() *core.Server {
		return upshifttest.NewServer(t, core.Options{Adapter: redis.New(redis.Options{Client: o, Key: "pair"})})
	}
	p := &pair{T: t, first: server()}
	p.client = upshifttest.Dial(t, server(), "/", upshifttest.Options{})
	return p
}

// crosses waits until what the first server sends reaches the client of the second.
func (p *pair) crosses(what string) {
	p.Helper()
	arrived := make(chan struct{})
	go func() {
		defer close(arrived)
		for p.client.Next().Name != what {
			continue // what was sent before
		}
	}()
	for end := time.After(time.Minute); ; {
		if err := p.first.Of("/").Emit(p.Context(), what); err != nil {
			p.Fatal(err)
		}
		select {
		case <-arrived:
			return
		case <-end:
			p.Fatalf("%s does not arrive", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestTLS(t *testing.T) {
	site := httptest.NewTLSServer(nil) // for its certificate
	defer site.Close()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(site.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(ports.Free(t))
	redistest.Start(t, "--tls-port", port, "--tls-auth-clients", "no",
		"--tls-cert-file", write("cert", "CERTIFICATE", site.Certificate().Raw), "--tls-key-file", write("key", "PRIVATE KEY", key))
	roots := x509.NewCertPool()
	roots.AddCert(site.Certificate())
	startPair(t, rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:" + port},
		TLSConfig:   &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12},
	}).crosses("by TLS")
}

// When the primary goes, the adapter follows the Sentinel to the next one.
func TestSentinel(t *testing.T) {
	primary := redistest.Start(t)
	primary.StartReplica(t)
	p := startPair(t, rueidis.ClientOption{
		InitAddress: []string{primary.StartSentinel(t, "main")},
		Sentinel:    rueidis.SentinelOption{MasterSet: "main"},
	})
	p.crosses("by the first")
	primary.Kill()
	p.crosses("by the second")
	for end := time.Now().Add(time.Minute); ; { // the first server has to follow, too
		_, err := p.first.Of("/").To().Fetch(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
