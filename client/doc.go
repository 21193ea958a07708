// Package client is a Socket.IO client: it talks to any server that speaks
// version 4, in whatever language.
//
//	c, err := client.Dial(ctx, "https://example.com/chat", client.Options{})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	receipt, err := Send.Call(ctx, c, Message{Text: "hello"})
//
// The path of the URL is the namespace. Events are described once, with package
// event, for both ends: Posted.Emit, Send.Call, Posted.On and Posted.All take a
// client's Socket as they take what a server has. The methods Emit, Call and
// Listen of a Socket are the same without types.
//
// # Before the first event
//
// A server may send as soon as a client is connected. Who must not miss
// anything registers handlers before connecting:
//
//	c, err := client.New("https://example.com/chat", client.Options{})
//	Posted.On(c, func(ctx context.Context, m Message) (event.None, error) { … })
//	err = c.Connect(ctx)
//
// # Handlers
//
// The handlers of a socket run one at a time, in the order of what arrived, on
// a goroutine that the socket has only while there is something to do. They may
// block, and wait for answers of the server: answers and heartbeats do not
// queue behind them. When more than Options.MaxQueuedBytes of events wait for
// their handlers, the connection is not read from until there is room; a
// handler that waits for an answer then waits in vain, and should not do so
// without a deadline.
//
// # Losing the connection
//
// A connection that is lost is opened again, at random intervals that grow; see
// Reconnection. What is emitted meanwhile waits, up to Options.MaxBufferedBytes,
// and leaves in order when the namespace is joined again. A Call that was sent
// and not answered fails with ErrDisconnected; with SocketOptions.Retries it is
// sent again. If the server keeps state for recovery, the socket comes back with
// its id and receives what it has missed, see Socket.Recovered.
//
// A server that disconnects the socket ("io server disconnect") or refuses it (a
// *ConnectError) is not asked again, unless Connect is called.
//
// # HTTP
//
// Both transports go by Options.HTTPClient: polling sends its requests with
// it, and WebSocket opens its connection with it. Proxy, TLS, custom dialing
// and timeouts are those of its Transport, cookies those of its Jar:
//
//	jar, _ := cookiejar.New(nil)
//	o := client.Options{
//		HTTPClient: &http.Client{
//			Jar: jar,
//			Transport: &http.Transport{
//				Proxy:           http.ProxyFromEnvironment,
//				TLSClientConfig: &tls.Config{RootCAs: roots},
//				DialContext:     dialer.DialContext,
//			},
//		},
//		Header: http.Header{"Authorization": {"Bearer " + token}},
//	}
//
// Without it every Manager has a client of its own, with a jar, so that
// load balancers that route by cookie work, and with the proxy that the
// environment names. A program with thousands of clients lets them share one.
package client
