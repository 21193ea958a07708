package main

import (
	"context"
	"net"
	"net/http"

	"github.com/centrifugal/centrifuge"
)

// serveCentrifuge is centrifuge with its own protocol, in JSON: an RPC for an
// ack, and channels for rooms. It is here as a measure, since its clients are
// others.
func serveCentrifuge(l net.Listener) error {
	node, err := centrifuge.New(centrifuge.Config{ClientChannelLimit: 1000})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			done(centrifuge.SubscribeReply{}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, done centrifuge.PublishCallback) {
			done(centrifuge.PublishReply{}, nil)
		})
		client.OnRPC(func(e centrifuge.RPCEvent, done centrifuge.RPCCallback) {
			done(centrifuge.RPCReply{Data: e.Data}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{UseWriteBufferPool: true}))
	return http.Serve(l, mux)
}
