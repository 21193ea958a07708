package interop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/upshift-go/upshift/core"
)

// oldPage connects with a browser's copy of the client of Socket.IO 2.
const oldPage = `<!doctype html>
<link rel="icon" href="data:,">
<p id="transport"></p>
<script src="/socket.io/socket.io.js"></script>
<script>
const events = [];
const list = (buffer) => [...new Uint8Array(buffer)];
const transports = new URLSearchParams(location.search).getAll("transport");
const socket = io({transports});
socket.on("parcel", ({label, body}) => events.push(label + list(body)));
const send = (label, bytes) =>
  socket.emit("parcel", {label, body: new Uint8Array(bytes).buffer}, ({label, body}) => events.push("ack " + label + list(body)));
const show = () => (document.getElementById("transport").textContent = socket.io.engine.transport.name);
socket.on("connect", () => {
  show();
  socket.io.engine.on("upgrade", show);
});
</script>`

// Where a browser can, its polling has binary payloads, which Node.js never
// sends.
func TestOldBrowser(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	const bundles = "node_modules/socket.io-client-2/dist"
	if _, err := os.Stat(bundles); err != nil {
		missing(t, "the client of Socket.IO 2 (npm ci in internal/interop)")
	}
	browser := startBrowser(t, chromium)
	for _, way := range []struct{ query, ends string }{
		{"transport=polling", "polling"},
		{"transport=websocket", "websocket"},
		{"transport=polling&transport=websocket", "websocket"},
	} {
		t.Run(way.query, func(t *testing.T) {
			a := startApp(t, "nethttp", settings{options: func(o *core.Options) { o.AllowEIO3, o.ClientDir = true, bundles }})
			requests := newJournal[[2]string]() // content types, of the request and of the answer
			mux := http.NewServeMux()
			mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, r *http.Request) {
				a.server.ServeHTTP(w, r)
				requests.add([2]string{r.Header.Get("Content-Type"), w.Header().Get("Content-Type")})
			})
			mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, oldPage) })
			front := httptest.NewServer(mux)
			t.Cleanup(front.Close)
			t.Cleanup(func() { a.shutdown(t) })

			tab := newTab(browser, t)
			tab.run(chromedp.Navigate(front.URL + "/?" + way.query))
			tab.until("connected", `socket.connected`)
			tab.until("transport is "+way.ends, fmt.Sprintf(`document.getElementById("transport").textContent === %q`, way.ends))
			// Text and bytes, in one payload where the transport has payloads.
			tab.run(chromedp.Evaluate[chromedp.Void](`send("☃ 🙂 ", [0, 1, 127, 128, 255]); send("é ", []); send("", Array(1000).fill(7)); undefined`))
			tab.until("all is back", `events.length === 6`)
			got := get(tab, chromedp.Evaluate[[]string](`events.filter((event) => event.length < 100)`))
			want := []string{"☃ 🙂 0,1,127,128,255", "ack ☃ 🙂 0,1,127,128,255", "é ", "ack é "}
			if d := diff(want, got); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
			if way.ends == "polling" {
				const binary = "application/octet-stream"
				requests.await(t, "binary POST", func(types [2]string) bool { return types[0] == binary })
				requests.await(t, "binary poll", func(types [2]string) bool { return types[1] == binary })
			}
		})
	}
}
