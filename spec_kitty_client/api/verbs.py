"""Every verb of the contract, by the name that most hosts use."""

from typing import Any

from spec_kitty_client.api import commands, design
from spec_kitty_client.api.commands import Command

__all__ = ["VERBS"]

_ALL: tuple[type[Command[Any]], ...] = (
    commands.ContractVersion,
    commands.MissionState,
    commands.ListReady,
    commands.StartImplementation,
    commands.StartReview,
    commands.Transition,
    commands.AppendHistory,
    commands.AcceptMission,
    commands.MergeMission,
    commands.ResolveWorkspace,
    design.Specify,
    design.Plan,
    design.Tasks,
    design.CheckPrerequisites,
    design.RecordAnalysis,
    design.OpenDecision,
    design.ResolveDecision,
    design.DeferDecision,
    design.CancelDecision,
    design.AnswerDecision,
    design.DesignStatus,
    design.ArtifactRead,
    design.ArtifactSubmit,
    design.DesignValidate,
    design.DesignContext,
    design.InterviewRecord,
    design.Next,
)

VERBS = {command.verb: command for command in _ALL}
"""The command class of each verb, by its name on most hosts, oldest verbs first."""
