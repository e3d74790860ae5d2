"""What a run did, in other people's formats: made of its events and of the gateway's recording, never by the agent."""
