package interop

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
	"github.com/upshift-go/upshift/transports"
)

// adminPage is where the official Admin UI has been installed to.
const adminPage = "node_modules/@socket.io/admin-ui/ui/dist"

// The official Admin UI in a browser, on an origin of its own, in both codecs.
func TestAdminUI(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	if _, err := os.Stat(adminPage); err != nil {
		missing(t, "the admin UI (npm ci in internal/interop)")
	}
	page := serveAdminPage(t)
	browser := startBrowser(t, chromium)
	n := startNode(t)
	for _, parser := range []string{"default", "msgpack"} {
		t.Run(parser, func(t *testing.T) { adminStory(browser, t, n, page, parser) })
	}
	t.Run("read-only", func(t *testing.T) { adminReadOnly(browser, t, n, page) })
	t.Run("production", func(t *testing.T) { adminProduction(browser, t, n, page) })
}

// serveAdminPage serves the UI as a person's own web server would, but for what
// it loads from elsewhere, and returns its address.
func serveAdminPage(t *testing.T) string {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(adminPage, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(index)
	for _, elsewhere := range []string{
		"https://fonts.googleapis.com/css?family=Roboto:100,300,400,500,700,900",
		"https://cdn.jsdelivr.net/npm/@mdi/font@latest/css/materialdesignicons.min.css",
	} {
		if !strings.Contains(text, elsewhere) {
			t.Fatalf("the page does not load %s", elsewhere)
		}
		text = strings.ReplaceAll(text, elsewhere, "data:text/css,")
	}
	files := http.FileServer(http.Dir(adminPage))
	front := openDoor(t, "nethttp", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte(text))
			return
		}
		files.ServeHTTP(w, r)
	}), nil)
	t.Cleanup(func() { front.shut(context.WithoutCancel(t.Context()), t) })
	return front.url
}

// An adminApp is a server with the admin UI, and a client whose move to WebSocket
// waits until it is let through.
type adminApp struct {
	server  *core.Server
	admin   *adminui.Admin
	url     string
	upgrade func()
	audit   lockedBuffer
}

func startAdminApp(t *testing.T, page, parser string, o adminui.Options) *adminApp {
	t.Helper()
	a := new(adminApp)
	gate := make(chan struct{})
	a.upgrade = sync.OnceFunc(func() { close(gate) })
	options := core.Options{
		CORS: &core.CORS{Origins: []string{page}, Credentials: true},
		Headers: func(ex transports.Exchange, _ bool) {
			if ex.Header("Upgrade") != "" && ex.Query().Get("who") == "app" {
				<-gate
			}
		},
	}
	if parser == "msgpack" {
		options.Codec = codec.MsgPack(codec.MsgPackOptions{})
	}
	var err error
	if a.server, err = core.New(options); err != nil {
		t.Fatal(err)
	}
	n := a.server.Of("/")
	n.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "lobby") })
	core.On(n, "hello", func(ctx context.Context, s *core.Socket, _ any) (core.None, error) {
		return core.None{}, s.Emit(ctx, "hello back", map[string]any{"n": 42, "bytes": []byte("binary")})
	})
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	o.Username, o.PasswordHash, o.ServerID = "admin", string(hash), "server-one"
	o.Logger = slog.New(slog.NewTextHandler(&a.audit, nil))
	if a.admin, err = adminui.Instrument(a.server, o); err != nil {
		t.Fatal(err)
	}
	front := openDoor(t, "nethttp", a.server, nil)
	a.url = front.url
	t.Cleanup(func() {
		a.upgrade()
		a.admin.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		front.shut(ctx, t)
		if t.Failed() {
			t.Logf("log: %s", a.audit.String())
		}
	})
	return a
}

// client connects a client of the app and returns its id.
func (a *adminApp) client(t *testing.T, n *node, parser string) (*client, string) {
	t.Helper()
	options := map[string]any{"query": map[string]any{"who": "app", "token": "private"}}
	if parser == "msgpack" {
		options["parser"] = parser
	}
	return connect(t, n, "app", a.url, route{options: options}, nil)
}

// rooms are those that a client is in, but its own.
func (a *adminApp) rooms(id string) []string {
	s := a.server.Of("/").Socket(id)
	if s == nil {
		return nil
	}
	rooms := slices.DeleteFunc(s.Rooms(), func(room string) bool { return room == id })
	slices.Sort(rooms)
	return rooms
}

// login fills in the form of the UI.
func (tab *tab) login(page, server, parser, password string) {
	tab.t.Helper()
	form := ".v-dialog--active form > "
	field := func(i int, text string) {
		selector := fmt.Sprintf("%sdiv:nth-of-type(%d) input", form, i)
		tab.run(chromedp.WaitVisible(chromedp.CSS(selector)))
		get(tab, chromedp.Evaluate[bool](fmt.Sprintf(`(() => {
			const input = document.querySelector(%q);
			input.value = "";
			return input.dispatchEvent(new Event("input")); // the page keeps the text by itself
		})()`, selector)))
		tab.run(chromedp.SendKeys(chromedp.CSS(selector), text))
	}
	if got := get(tab, chromedp.Evaluate[string](`location.origin`)); got != page {
		tab.run(chromedp.Navigate(page))
		if parser != "default" {
			// The choice is in a menu of the form; the page also remembers it.
			get(tab, chromedp.Evaluate[bool](fmt.Sprintf(`(localStorage.setItem("parser", %q), true)`, parser)))
			tab.run(chromedp.Reload())
		}
		field(1, server)
		field(2, "admin")
	}
	field(3, password)
	tab.run(chromedp.Click(chromedp.CSS(form + "button[type=submit]")))
}

// goTo opens a view of the UI, as its links do.
func (tab *tab) goTo(view string) {
	tab.t.Helper()
	get(tab, chromedp.Evaluate[bool](fmt.Sprintf(`(location.hash = %q, true)`, view)))
}

// row is JavaScript for the row of a table that has all of the texts.
func row(texts ...string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("main tr")].find((row) => %s.every((text) => row.innerText.includes(text)))`, jsStrings(texts))
}

func jsStrings(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// holds is until for an expression that is true, or something, in the end.
func (tab *tab) holds(what, expression string) {
	tab.t.Helper()
	tab.until(what, "!!("+expression+")")
}

// press waits for a button with an icon within what an expression finds, and
// presses it.
func (tab *tab) press(within, icon string) {
	tab.t.Helper()
	tab.until("button "+icon, fmt.Sprintf(`(() => {
		const button = (%s)?.querySelector("."+%q)?.closest("button");
		if (!button || button.disabled) return false;
		button.click();
		return true;
	})()`, within, icon))
}

// eventually waits for what the server says.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func adminStory(browser context.Context, t *testing.T, n *node, page, parser string) {
	a := startAdminApp(t, page, parser, adminui.Options{
		Development: true,
		Data:        func(*core.Socket) map[string]any { return map[string]any{"user": "Ann"} },
	})
	c, id := a.client(t, n, parser)
	tab := newTab(browser, t)

	tab.login(page, a.url, parser, "wrong")
	tab.holds("wrong password", `document.querySelector(".v-dialog--active").innerText.includes("Invalid credentials")`)
	tab.login(page, a.url, parser, "secret")
	tab.holds("logged in", `!document.querySelector(".v-dialog--active") && /CONNECTED/i.test(document.querySelector("header").innerText)`)
	tab.holds("session is kept", `/^[0-9a-f]{32}$/.test(localStorage.getItem("session_id"))`)
	tab.holds("dashboard", `document.querySelector("main").innerText.includes("HTTP long-polling")`)

	tab.goTo("/sockets/")
	tab.holds("our socket on polling", row(id, "HTTP long-polling", "127.0.0.1"))
	a.upgrade()
	tab.holds("the same on WebSocket", row(id, "WebSocket"))
	if got := c.transport(t); got != "websocket" {
		t.Errorf("client uses %s", got)
	}
	_, other := a.client(t, n, parser)
	tab.holds("another socket", row(other))
	shot(tab, "admin-sockets-"+parser)

	tab.goTo("/n/%2F/sockets/" + id)
	for _, text := range []string{id, `"user": "Ann"`, "user-agent", "lobby"} {
		tab.holds("details: "+text, fmt.Sprintf(`document.querySelector("main").innerText.includes(%q)`, text))
	}
	tab.holds("token is not shown", row("token", "[redacted]"))
	if body := get(tab, chromedp.Evaluate[string](`document.body.innerText`)); strings.Contains(body, "private") {
		t.Errorf("the page shows a secret:\n%s", body)
	}
	tab.run(chromedp.SendKeys(chromedp.CSS(".select-room input"), "vip"))
	tab.press(`document.querySelector("main")`, "mdi-tag-plus-outline")
	eventually(t, "joined from the UI", func() bool { return slices.Equal(a.rooms(id), []string{"lobby", "vip"}) })
	tab.holds("new room is shown", row("vip"))
	shot(tab, "admin-socket-"+parser)
	tab.press(row("lobby"), "mdi-tag-off-outline")
	eventually(t, "left from the UI", func() bool { return slices.Equal(a.rooms(id), []string{"vip"}) })
	tab.goTo("/n/%2F/sockets/" + id) // the button has led to the room as well
	tab.holds("old room is gone", row("vip")+" && !("+row("lobby")+")")

	tab.goTo("/rooms/")
	tab.holds("rooms", row("lobby", "1")+" && "+row("vip", "1"))
	if err := a.server.Of("/").To(id).Join(t.Context(), "lobby"); err != nil {
		t.Fatal(err)
	}
	tab.holds("joined on the server", row("lobby", "2"))
	shot(tab, "admin-rooms-"+parser)
	tab.press(row("lobby"), "mdi-tag-off-outline")
	eventually(t, "room emptied from the UI", func() bool { return len(a.server.Of("/").To("lobby").Sockets()) == 0 })
	tab.goTo("/rooms/")
	tab.holds("room is gone", row("vip")+" && !("+row("lobby")+")")

	tab.goTo("/events/")
	c.emit(t, "hello", map[string]any{"text": "good day"})
	tab.holds("event that was received", row("hello", "Event received", id))
	tab.holds("event that was sent", row("hello back", "Event sent", id))
	tab.holds("connection", row("Connection", other))
	tab.holds("room joined", row("Room joined", "vip", id))
	tab.press(row("hello back"), "mdi-chevron-down")
	tab.holds("arguments", `document.querySelector("main").innerText.includes('"n": 42')`)
	shot(tab, "admin-events-"+parser)

	tab.run(chromedp.Reload())
	tab.holds("back without a form", `!document.querySelector(".v-dialog--active") && /CONNECTED/i.test(document.querySelector("header").innerText)`)
	tab.goTo("/sockets/")
	tab.press(row(id), "mdi-logout")
	if got := c.event(t, "disconnect"); got.Reason != "io server disconnect" {
		t.Errorf("client: %q", got.Reason)
	}
	tab.goTo("/sockets/")
	tab.holds("socket is gone", "!("+row(id)+") && "+row(other))
	tab.goTo("/clients/")
	clients := a.server.Of("/").Socket(other).Session().ID()[:12]
	tab.press(row(clients), "mdi-logout")
	eventually(t, "client disconnected from the UI", func() bool { return a.server.Of("/").Len() == 0 })
	for _, want := range []string{"logged in", "login failed", "command=join", "command=leave", "command=_disconnect", "filter=" + id} {
		if !strings.Contains(a.audit.String(), want) {
			t.Errorf("no %q in the audit", want)
		}
	}
}

// A read-only server shows everything and does nothing.
func adminReadOnly(browser context.Context, t *testing.T, n *node, page string) {
	a := startAdminApp(t, page, "default", adminui.Options{Development: true, ReadOnly: true})
	a.upgrade()
	_, id := a.client(t, n, "default")
	tab := newTab(browser, t)
	tab.login(page, a.url, "default", "secret")
	tab.goTo("/sockets/")
	tab.holds("our socket", row(id))
	tab.holds("no button to disconnect", `!document.querySelector("main .mdi-logout")`)
	tab.goTo("/n/%2F/sockets/" + id)
	tab.run(chromedp.SendKeys(chromedp.CSS(".select-room input"), "vip"))
	tab.press(`document.querySelector("main")`, "mdi-tag-plus-outline") // the UI offers it nevertheless
	c, _ := a.client(t, n, "default")
	c.call(t, "hello", 1)
	tab.goTo("/events/")
	tab.holds("something that came later", row("hello back"))
	if got := a.rooms(id); !slices.Equal(got, []string{"lobby"}) {
		t.Errorf("rooms: %v", got)
	}
}

// In production there are figures only.
func adminProduction(browser context.Context, t *testing.T, n *node, page string) {
	a := startAdminApp(t, page, "default", adminui.Options{})
	a.client(t, n, "default") // stays on polling
	tab := newTab(browser, t)
	tab.login(page, a.url, "default", "secret")
	tab.goTo("/servers/")
	tab.holds("our server", row("server-one", strconv.Itoa(os.Getpid()), "HEALTHY"))
	tab.holds("two clients", `[...document.querySelectorAll("main tbody tr")].some((row) => row.cells[4]?.innerText === "2")`)
	links := get(tab, chromedp.Evaluate[[]string](`[...document.querySelectorAll("nav a")].map((a) => a.getAttribute("href"))`))
	if d := diff([]string{"#/", "#/servers"}, links); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
	tab.goTo("/")
	tab.holds("one on each transport", row("WebSocket", "50.0 %")+" && "+row("HTTP long-polling", "50.0 %"))
	tab.holds("namespaces", row("/admin", "1"))
	shot(tab, "admin-production")
	a.upgrade()
	tab.holds("both on WebSocket", row("WebSocket", "100.0 %"))
}

// shot takes a picture of the page.
func shot(tab *tab, name string) {
	tab.t.Helper()
	dir := os.Getenv("ARTIFACTS")
	if dir == "" {
		dir = "../../artifacts"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tab.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), get(tab, chromedp.CaptureScreenshot()), 0o644); err != nil {
		tab.t.Fatal(err)
	}
}
