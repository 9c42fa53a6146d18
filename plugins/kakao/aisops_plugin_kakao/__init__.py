"""AIsOpsFlow plugin: Kakao AlimTalk through DK Techin's BizMessage v2."""

from aisops_plugin_kakao.adapter import plugin

__all__ = ["plugin"]
