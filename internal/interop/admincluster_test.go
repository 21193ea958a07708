package interop

import (
	"context"
	"fmt"
	"testing"

	goclient "github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/middleware/adminui"
)

// An adminClient is what the UI's page keeps of a server: which sockets there are.
type adminClient struct {
	*goclient.Socket
	told *journal[[]adminSocket]
}

type adminSocket struct {
	ID        string         `json:"id"`
	ClientID  string         `json:"clientId"`
	Transport string         `json:"transport"`
	Namespace string         `json:"nsp"`
	Data      map[string]any `json:"data"`
	Rooms     []string       `json:"rooms"`
	Handshake struct {
		Address string            `json:"address"`
		Headers map[string]string `json:"headers"`
		Query   map[string]string `json:"query"`
	} `json:"handshake"`
}

func openAdminClient(t *testing.T, url string) *adminClient {
	t.Helper()
	page := &adminClient{told: newJournal[[]adminSocket]()}
	page.Socket = goConnect(t, url+"/admin", goclient.Options{}, func(s *goclient.Socket) {
		s.OnAny(func(_ context.Context, name string, args codec.Args) {
			if name != "all_sockets" {
				return
			}
			var all []adminSocket
			if err := args.Bind(&all); err != nil {
				t.Error(err)
			}
			page.told.add(all)
		})
	})
	return page
}

// shows waits for the list of all sockets and returns one of them.
func (p *adminClient) shows(t *testing.T, id string) adminSocket {
	t.Helper()
	for _, s := range p.told.await(t, "all sockets", func([]adminSocket) bool { return true }) {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("socket %s is not shown", id)
	return adminSocket{}
}

// The pages of either server of a cluster show the sockets of the other, and command
// them.
func TestClusterAdminUI(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		m.node.must(t, "instrument", nil, nil)
		admin, err := adminui.Instrument(m.srv, adminui.Options{WithoutAuthentication: true, Development: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(admin.Stop)
		onNode, onGo := clusterConnect(t, m.node.url, "/"), clusterConnect(t, m.url, "/")

		for kind, one := range map[string]struct {
			page *adminClient
			of   *clusterClient // on the other server
			data string
		}{
			"Go":   {openAdminClient(t, m.url), onNode, "map[user:of node]"},
			"Node": {openAdminClient(t, m.node.url), onGo, "map[user:of go]"},
		} {
			s := one.page.shows(t, one.of.ID())
			if len(s.ClientID) != 12 || s.Transport == "" || s.Namespace != "/" || fmt.Sprint(s.Data) != one.data ||
				len(s.Rooms) != 1 || s.Handshake.Address == "" || s.Handshake.Query["EIO"] != "4" {
				t.Errorf("the page of %s shows %+v", kind, s)
			}
			command := func(name string, args ...any) {
				t.Helper()
				if err := one.page.Emit(t.Context(), name, args...); err != nil {
					t.Fatal(err)
				}
			}
			command("join", "/", "by "+kind, one.of.ID())
			eventually(t, "the room is joined", func() bool {
				found, err := m.srv.Of("/").To("by " + kind).Fetch(t.Context())
				return err == nil && len(found) == 1
			})
			command("emit", "/", one.of.ID(), "hello "+kind)
			one.of.await(t, "an event from the page", is("hello "+kind+"[]"))
			command("_disconnect", "/", false, one.of.ID())
			one.of.await(t, "the end", begins("disconnect: "))
		}
	})
}
