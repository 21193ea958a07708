// Package deptest keeps the direction of the imports: the compiler refuses
// cycles, but not a transport that knows the session manager.
package deptest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/upshift-go/upshift"

// heavy is what core must never bring into a program that did not ask for it.
var heavy = []string{
	"github.com/redis/", "github.com/gomodule/redigo", "github.com/nats-io/",
	"github.com/prometheus/", "go.opentelemetry.io/", "github.com/golang-jwt/",
	"github.com/quic-go/", "github.com/gin-gonic/", "github.com/labstack/",
	"github.com/gofiber/", "github.com/go-chi/", "github.com/go-playground/",
	"golang.org/x/crypto", "golang.org/x/sync", "github.com/hashicorp/", "github.com/spf13/",
}

// server is what who imports core reaches with it.
var server = []string{
	"core", "core/session", "codec", "event", "internal/exchange", "internal/exchange/nethttp",
	"transports", "transports/polling", "transports/ws",
}

// heavyBut is heavy without what a package is made for.
func heavyBut(prefixes ...string) []string {
	return slices.DeleteFunc(slices.Clone(heavy), func(h string) bool { return slices.Contains(prefixes, h) })
}

const oneConcern = "each middleware is a package of its own, so that a program pays for what it uses"

// A rule says what one package may reach, at any depth.
type rule struct {
	pkg    string
	ours   []string // packages of this module that it may reach
	stdlib bool     // it reaches no package of another module
	theirs []string // if not empty: the modules of others that it may reach
	never  []string // prefixes of import paths that it must not reach
	why    string
}

// rules has a row for every package that a program may import, and for an
// example that promises what it imports.
var rules = []rule{
	{
		pkg: "transports", stdlib: true,
		why: "a stranger writes a transport by importing this alone, and gets nothing else with it",
	},
	{
		pkg: "transports/transporttest", ours: []string{"transports", "internal/exchange/nethttp"}, stdlib: true,
		why: "a stranger's test needs the contract and a front door, and nothing of the server",
	},
	{
		pkg: "transports/pipe", ours: []string{"transports"}, stdlib: true,
		why: "it shows what a stranger's transport needs, which is the contract alone",
	},
	{
		pkg: "examples/sse/eventstream", ours: []string{"transports"}, stdlib: true,
		why: "it is the example of what a stranger writes",
	},
	{
		pkg: "transports/polling", ours: []string{"transports"}, never: []string{"net/http", "github.com/valyala/fasthttp"},
		why: "the Go client shares its payload encoding and must not link a server by it",
	},
	{
		pkg: "transports/ws", ours: []string{"transports"}, never: []string{"github.com/valyala/fasthttp"},
		why: "a transport knows the contract, no session manager and no HTTP server",
	},
	{
		pkg: "event", stdlib: true,
		why: "descriptors are shared by server and client, so they are a leaf",
	},
	{
		pkg: "codec", theirs: []string{"github.com/vmihailenco/", "github.com/go-json-experiment/"}, never: append(heavy, "net"),
		why: "a codec turns bytes into packets and back; it knows no connection",
	},
	{
		pkg: "codec/codectest", ours: []string{"codec"}, theirs: []string{"github.com/vmihailenco/", "github.com/go-json-experiment/"}, never: append(heavy, "net"),
		why: "a stranger's test of a codec needs codecs and nothing of the server",
	},
	{
		pkg: "core/session", ours: []string{"transports"},
		never: []string{"github.com/valyala/fasthttp", "github.com/lxzan/gws"},
		why:   "the session manager knows packets and transports, not events, and no transport in particular",
	},
	{
		pkg: "core",
		ours: []string{
			"core/session", "codec", "event", "internal/exchange", "internal/exchange/nethttp",
			"transports", "transports/polling", "transports/ws",
		},
		never: heavy,
		why:   "who embeds the server pays for two transports and nothing more; middleware, adapters and clients import core",
	},
	{
		pkg: "upshifttest",
		ours: []string{
			"core", "core/session", "codec", "event", "internal/exchange", "internal/exchange/nethttp",
			"transports", "transports/pipe", "transports/polling", "transports/ws",
		},
		never: heavy,
		why:   "a test of a program needs what the program needs, and a network in memory",
	},
	{
		pkg:   "client",
		ours:  []string{"codec", "event", "transports", "transports/polling", "transports/ws"},
		never: append(heavy, "github.com/valyala/fasthttp"),
		why:   "a program that talks to a server links none: what both ends need is shared below",
	},
	{
		pkg: "adapters/cluster", ours: server, never: heavy,
		why: "an engine brings its broker's client; what is the same for all brokers brings none",
	},
	{
		pkg: "adapters/adaptertest", ours: append([]string{"adapters/cluster", "upshifttest", "transports/pipe"}, server...), never: heavy,
		why: "a stranger's test of an adapter needs servers and clients in memory, and no broker but its own",
	},
	{
		pkg: "adapters/emitter", ours: append([]string{"adapters/cluster"}, server...), never: heavy,
		why: "who emits over one broker does not pay for another",
	},
	{
		pkg: "adapters/redis", ours: append([]string{"adapters/cluster", "adapters/redis/internal/pubsub"}, server...), never: heavyBut("github.com/redis/"),
		why: "only who imports it pays for the client of Redis",
	},
	{
		pkg: "adapters/redis/streams", ours: append([]string{"adapters/cluster", "adapters/redis/internal/pubsub"}, server...), never: heavyBut("github.com/redis/"),
		why: "the engines of Redis do not know each other",
	},
	{
		pkg: "adapters/nats", ours: append([]string{"adapters/cluster"}, server...), never: append([]string{"github.com/nats-io/nats-server"}, heavyBut("github.com/nats-io/", "golang.org/x/crypto")...),
		why: "only who imports it pays for the client of NATS, and only tests for the server",
	},
	{
		pkg: "adapters/relay", ours: append([]string{"internal/exchange"}, server...), never: heavy,
		why: "it passes requests on over HTTP, whatever the adapter is",
	},
	{
		pkg: "internal/clustertest", ours: append([]string{"adapters/cluster", "adapters/emitter", "client", "upshifttest", "transports/pipe"}, server...), never: heavy,
		why: "each engine is put through the same faults",
	},
	{
		pkg: "adapters/redis/internal/pubsub", ours: append([]string{"adapters/cluster"}, server...), never: heavyBut("github.com/redis/"),
		why: "the engines of Redis share it",
	},
	{
		pkg: "internal/redistest", ours: []string{"internal/clustertest/ports"}, stdlib: true,
		why: "it runs a process for tests",
	},
	{
		pkg: "internal/clustertest/ports", stdlib: true,
		why: "it finds ports for processes of tests",
	},
	{
		pkg: "internal/exampletest", stdlib: true,
		why: "every package's examples may need it",
	},
	{pkg: "middleware/accesslog", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/adminui", ours: server, never: heavyBut("golang.org/x/crypto"), why: oneConcern},
	{
		pkg: "middleware/auth", ours: server,
		never: append([]string{"github.com/MicahParks/", "github.com/alexedwards/", "github.com/gorilla/"}, heavy...),
		why:   "who brings a Verify function of its own, or cookies, pays for no JWT library; session managers are the program's",
	},
	{
		pkg: "middleware/auth/jwt", ours: append([]string{"middleware/auth"}, server...),
		never: append([]string{"github.com/MicahParks/keyfunc"}, heavyBut("github.com/golang-jwt/")...),
		why:   "JWT needs its library, and nothing else that is heavy",
	},
	{pkg: "middleware/concurrency", ours: server, never: heavyBut("golang.org/x/sync"), why: oneConcern},
	{pkg: "middleware/dedupe", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/health", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/history", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/presence", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/metrics", ours: append([]string{"adapters/cluster"}, server...), never: heavyBut("github.com/prometheus/"), why: oneConcern},
	{pkg: "middleware/proflabels", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/ratelimit", ours: server, never: heavyBut("github.com/hashicorp/"), why: oneConcern},
	{pkg: "middleware/recoverer", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/timeout", ours: server, never: heavy, why: oneConcern},
	{pkg: "middleware/tracing", ours: server, never: heavyBut("go.opentelemetry.io/"), why: oneConcern},
	{
		pkg: "middleware/validate", ours: server,
		// The validator knows a checksum of x/crypto.
		never: heavyBut("github.com/go-playground/", "golang.org/x/crypto"),
		why:   oneConcern,
	},
	{
		pkg: "internal/exchange/nethttp", ours: []string{"transports"}, stdlib: true,
		why: "a stranger's test of a transport goes through it and links no second HTTP stack",
	},
	{
		pkg: "internal/exchange", ours: []string{"internal/exchange/nethttp", "transports"}, never: heavy,
		why: "the HTTP front doors serve whoever stands behind the contract",
	},
}

func TestImportDirection(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.pkg, func(t *testing.T) {
			path := module + "/" + rule.pkg
			allowed := []string{path}
			for _, pkg := range rule.ours {
				allowed = append(allowed, module+"/"+pkg)
			}
			for _, dep := range list(t, "-deps", "-f", "{{.Standard}} {{.ImportPath}}", path) {
				standard, dep, _ := strings.Cut(dep, " ")
				ours := strings.HasPrefix(dep, module)
				switch {
				case ours && !slices.Contains(allowed, dep):
					t.Errorf("%s reaches %s, but: %s", path, dep, rule.why)
				case rule.stdlib && !ours && standard != "true":
					t.Errorf("%s reaches %s, which is not in the standard library, but: %s", path, dep, rule.why)
				case len(rule.theirs) > 0 && !ours && standard != "true" &&
					!slices.ContainsFunc(rule.theirs, func(prefix string) bool { return under(dep, prefix) }):
					t.Errorf("%s reaches %s of another module, but: %s", path, dep, rule.why)
				case slices.ContainsFunc(rule.never, func(prefix string) bool { return under(dep, prefix) }):
					t.Errorf("%s reaches %s, but: %s", path, dep, rule.why)
				}
			}
		})
	}
}

// A package without a row would be free to import anything.
func TestEveryPackageHasARule(t *testing.T) {
	for _, path := range list(t, module+"/...") {
		pkg := strings.TrimPrefix(path, module+"/")
		if under(pkg, "examples") || under(pkg, "cmd") || pkg == "internal/deptest" || pkg == "docs" {
			continue // programs, and what is nothing but tests, may import what they like
		}
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.pkg == pkg }) {
			t.Errorf("package %s has no row in the table of this test", pkg)
		}
	}
}

func TestUnder(t *testing.T) {
	for _, test := range []struct {
		path, prefix string
		want         bool
	}{
		{"net/http", "net/http", true},
		{"net/http/httptrace", "net/http", true},
		{"net/httpx", "net/http", false},
		{"net", "net/http", false},
		{"github.com/redis/go-redis/v9", "github.com/redis/", true},
		{"vendor/golang.org/x/net/http2/hpack", "golang.org", false},
	} {
		if got := under(test.path, test.prefix); got != test.want {
			t.Errorf("under(%q, %q) = %v", test.path, test.prefix, got)
		}
	}
}

// under reports whether path is prefix or lies below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(prefix, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// list runs go list. A package that does not exist fails the test.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	text := strings.TrimSpace(string(out))
	if text == "" {
		t.Fatalf("%v listed nothing", cmd)
	}
	return strings.Split(text, "\n")
}
