// A session through the client that openapi-generator makes from the description.
package main

import (
	"context"
	"fmt"
	"os"

	sessman "example.test/sessions/sessman"
)

func check(what string, ok bool, err error) {
	if !ok {
		fmt.Println(what, err)
		os.Exit(1)
	}
}

func main() {
	configuration := sessman.NewConfiguration()
	configuration.Servers = sessman.ServerConfigurations{{URL: os.Args[1] + "/sessman"}}
	configuration.AddDefaultHeader("Authorization", "Bearer "+os.Args[2])
	client := sessman.NewAPIClient(configuration)
	ctx := context.Background()

	begin := sessman.NewCreateSessionRequest()
	begin.SetUserId("ada")
	begin.SetTtlSeconds(600)
	begin.SetData(map[string]interface{}{"theme": "dark"})
	begun, answer, err := client.ServiceAPI.CreateSession(ctx).CreateSessionRequest(*begin).Execute()
	check("create", err == nil && answer.StatusCode == 201, err)
	id := begun.GetSessionId()

	read, _, err := client.SessionAPI.GetSession(ctx).XSessionId(id).Execute()
	check("get", err == nil && read.GetUserId() == "ada", err)
	check("data", read.GetData().(map[string]interface{})["theme"] == "dark", nil)

	change := sessman.NewUpdateSessionRequest()
	change.SetData(map[string]interface{}{"cart": []int{1, 2}})
	change.SetMode("merge")
	changed, _, err := client.SessionAPI.UpdateSession(ctx).XSessionId(id).UpdateSessionRequest(*change).Execute()
	check("update", err == nil && changed.GetVersion() == 2, err)

	mine, _, err := client.SessionAPI.ListMySessions(ctx).XSessionId(id).Execute()
	check("mine", err == nil && len(mine.GetSessions()) == 1, err)

	_, _, err = client.SessionAPI.EndSession(ctx).XSessionId(id).Execute()
	check("end", err == nil, err)
	_, answer, err = client.SessionAPI.GetSession(ctx).XSessionId(id).Execute()
	check("after its end", err != nil && answer.StatusCode == 404, err)
	fmt.Println("a session was begun, read, changed, listed and ended")
}
