package main

import (
	"context"
	"fmt"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"
)

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: echoes.clients.example.com}
spec:
  group: clients.example.com
  scope: Namespaced
  names: {plural: echoes, kind: Echo, listKind: EchoList, singular: echo}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [word], properties: {word: {type: string}}}
          status: {type: object, properties: {said: {type: string}, observedGeneration: {type: integer}}}
`

var echoKind = schema.GroupVersionKind{Group: "clients.example.com", Version: "v1", Kind: "Echo"}

// echoes makes a ConfigMap with the word of every Echo.
type echoes struct{ client.Client }

func (e *echoes) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	echo := newEcho()
	if err := e.Get(ctx, request.NamespacedName, echo); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	word, _, _ := unstructured.NestedString(echo.Object, "spec", "word")
	child := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: echo.GetName(), Namespace: echo.GetNamespace()}}
	_, err := controllerutil.CreateOrUpdate(ctx, e.Client, child, func() error {
		child.Data = map[string]string{"word": word}
		return controllerutil.SetControllerReference(echo, child, e.Scheme())
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	status := map[string]any{"said": word, "observedGeneration": echo.GetGeneration()}
	before := echo.DeepCopy()
	echo.Object["status"] = status
	return ctrl.Result{}, e.Status().Patch(ctx, echo, client.MergeFrom(before))
}

func newEcho() *unstructured.Unstructured {
	echo := &unstructured.Unstructured{}
	echo.SetGroupVersionKind(echoKind)
	return echo
}

// controller runs a manager whose controller owns what it makes.
func controller(config *rest.Config) {
	ctrl.SetLogger(klog.Background())
	direct, err := client.New(config, client.Options{})
	check(err)
	define(direct)
	manager, err := ctrl.NewManager(config, ctrl.Options{
		LeaderElection: true, LeaderElectionID: "echoes.clients.example.com", LeaderElectionNamespace: namespace,
		LeaderElectionReleaseOnCancel: true, Metrics: server.Options{BindAddress: "0"},
	})
	check(err)
	check(ctrl.NewControllerManagedBy(manager).For(newEcho()).Owns(&core.ConfigMap{}).
		Complete(&echoes{manager.GetClient()}))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- manager.Start(ctx) }()
	lives(direct)
	stop()
	check(<-ended)
}

func define(direct client.Client) {
	crd := &unstructured.Unstructured{}
	check(yaml.Unmarshal([]byte(definition), &crd.Object))
	check(direct.Create(context.Background(), crd))
	eventually("the definition is established", func(ctx context.Context) (bool, error) {
		if err := direct.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, condition := range conditions {
			values := condition.(map[string]any)
			if values["type"] == "Established" && values["status"] == "True" {
				return true, nil
			}
		}
		return false, fmt.Errorf("%v", conditions)
	})
}

// lives has an Echo from its birth to its end: child, status, drift, garbage.
func lives(direct client.Client) {
	ctx := context.Background()
	key := client.ObjectKey{Namespace: namespace, Name: "canyon"}
	echo := newEcho()
	echo.SetName(key.Name)
	echo.SetNamespace(key.Namespace)
	echo.Object["spec"] = map[string]any{"word": "hello"}
	check(direct.Create(ctx, echo))
	says(direct, key, "hello", 1)
	check(direct.Get(ctx, key, echo))
	echo.Object["spec"] = map[string]any{"word": "again"}
	check(direct.Update(ctx, echo))
	says(direct, key, "again", 2)
	child := &core.ConfigMap{}
	check(direct.Get(ctx, key, child))
	before := child.UID
	check(direct.Delete(ctx, child))
	eventually("the child is made again", func(ctx context.Context) (bool, error) {
		fresh := &core.ConfigMap{}
		err := direct.Get(ctx, key, fresh)
		return err == nil && fresh.UID != before, err
	})
	check(direct.Delete(ctx, echo))
	eventually("the child goes with its owner", func(ctx context.Context) (bool, error) {
		err := direct.Get(ctx, key, &core.ConfigMap{})
		return errors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

func says(direct client.Client, key client.ObjectKey, word string, generation int64) {
	eventually("the echo says "+word, func(ctx context.Context) (bool, error) {
		child, echo := &core.ConfigMap{}, newEcho()
		if err := direct.Get(ctx, key, child); err != nil {
			return false, err
		}
		if err := direct.Get(ctx, key, echo); err != nil {
			return false, err
		}
		said, _, _ := unstructured.NestedString(echo.Object, "status", "said")
		observed, _, _ := unstructured.NestedInt64(echo.Object, "status", "observedGeneration")
		ok := child.Data["word"] == word && said == word && observed == generation
		return ok, fmt.Errorf("%v %v", child.Data, echo.Object["status"])
	})
}
