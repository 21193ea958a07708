package relay_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/relay"
	"github.com/upshift-go/upshift/core"
)

// A client opens its session at one server, and its next request comes to another.
func ExampleNew() {
	bus := new(adaptertest.Bus) // in production adapters/redis, or another
	var urls [2]string
	for i := range urls {
		srv, err := core.New(core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{}), SessionTag: relay.NewTag()})
		if err != nil {
			panic(err)
		}
		site := httptest.NewUnstartedServer(nil)
		front, err := relay.New(srv, relay.Options{
			Advertise: "http://" + site.Listener.Addr().String(), // where the other servers reach this one
			Secret:    "sixteen bytes or more that nobody knows",
		})
		if err != nil {
			panic(err)
		}
		site.Config.Handler = front // in place of srv
		site.Start()
		urls[i] = site.URL + "/socket.io/?EIO=4&transport=polling"
		defer func() {
			now, cancel := context.WithCancel(context.Background())
			cancel()
			_ = srv.Shutdown(now) // does not wait for the client, which has gone
			site.Close()
			_ = front.Close()
		}()
	}

	_, sid, _ := strings.Cut(request("GET", urls[0], ""), `"sid":"`)
	sid, _, _ = strings.Cut(sid, `"`)
	fmt.Println(request("POST", urls[1]+"&sid="+sid, "40")) // connects to the main namespace
	// Output: ok
}

// request is what a client does whose requests a balancer sends anywhere.
func request(method, url, body string) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		panic(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	return string(text)
}
