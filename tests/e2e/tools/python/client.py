"""Create, list, watch and delete with the official Python client. Fails with a traceback."""

import sys

from kubernetes import client, config, watch

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
apps = client.AppsV1Api()

labels = {"app": "python"}
config_map = client.V1ConfigMap(
    metadata=client.V1ObjectMeta(name="python", labels=labels), data={"key": "value"}
)
created = core.create_namespaced_config_map("default", config_map)
assert created.metadata.uid and created.metadata.resource_version

listed = core.list_namespaced_config_map("default", label_selector="app=python")
assert [item.metadata.name for item in listed.items] == ["python"]

core.patch_namespaced_config_map("python", "default", {"data": {"key": "changed"}})
stream = watch.Watch().stream(
    core.list_namespaced_config_map,
    "default",
    label_selector="app=python",
    resource_version=created.metadata.resource_version,
    timeout_seconds=180,
)
first = next(stream)
assert first["type"] == "MODIFIED" and first["object"].data == {"key": "changed"}, first

core.delete_namespaced_config_map("python", "default")
second = next(stream)
assert second["type"] == "DELETED", second

try:
    core.read_namespaced_config_map("python", "default")
    raise AssertionError("the ConfigMap is still there")
except client.ApiException as error:
    assert error.status == 404, error

container = client.V1Container(name="c", image="registry.coracle.internal/nosuch:1")
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
)
spec = client.V1DeploymentSpec(
    replicas=0, selector=client.V1LabelSelector(match_labels=labels), template=template
)
deployment = client.V1Deployment(metadata=client.V1ObjectMeta(name="python"), spec=spec)
assert apps.create_namespaced_deployment("default", deployment).spec.replicas == 0
apps.delete_namespaced_deployment("python", "default")
print("python client: ok")
